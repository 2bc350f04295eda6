//! What bindings need open: computed by the writer of the shard that has their security groups. That is most often the
//! writer of the target group, too, in the group's pass; for a target group of another shard it is a pass of its own.
//! What becomes of it is the affair of the security group's pass (`rules.rs`), which hears of it through the store.

use std::{collections::BTreeMap, time::Duration};

use model::{
    TargetGroupArn,
    condition::{Problem, Reason},
    network::Interfaces,
};
use planner::{
    Input,
    network::{Computed, compute, places},
};

use crate::{
    memory::Memory,
    pass::{Context, Error},
};

impl Context {
    /// Computes and stores what bindings of this shard's clusters need open for a target group of another shard. Whether
    /// AWS is to be asked again is seen by the next sweep.
    pub(crate) async fn opening_pass(&self, arn: &TargetGroupArn) -> Result<Option<Duration>, Error> {
        let mut memory = Memory::default();
        // What AWS says about the group is the word of its writer.
        self.recall(arn, &mut memory).await?;
        let input = self.gather(arn, &memory).await?;
        self.open(&input).await?;
        Ok(None)
    }

    /// Computes and stores what the group's bindings need open. Says whether that changed what is stored. In the steady
    /// state it asks nobody: interfaces are remembered by `aws`, and equal openings are not written.
    pub(crate) async fn open(&self, input: &Input) -> Result<bool, Error> {
        let here = &self.fence.shard;
        let places = places(input, here);
        let interfaces = if places.is_empty() {
            Interfaces::default()
        } else {
            // What EC2 does not say in time must not keep targets out.
            let asked = self.client.interfaces(&places);
            let answered = tokio::time::timeout(self.settings.attempt_timeout, asked).await;
            answered.unwrap_or_else(|_| Interfaces {
                found: BTreeMap::new(),
                problem: Some(Problem::new(
                    Reason::AwaitingAws,
                    "AWS does not list network interfaces in time",
                )),
            })
        };
        let mut changed = false;
        let computed = compute(input, here, &interfaces);
        for bound in &input.bindings {
            let id = bound.binding.id;
            let Some(Computed { openings, problem }) = computed.get(&id) else {
                continue;
            };
            if openings.is_some() || *problem != bound.unopened {
                changed |= self
                    .store
                    .write_openings(&self.fence, &input.arn, id, openings.as_ref(), problem.as_ref())
                    .await?;
            }
        }
        Ok(changed)
    }
}
