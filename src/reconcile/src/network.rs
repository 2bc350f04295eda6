//! The part of a target group's pass that says what its bindings need open. What becomes of it is the affair of the
//! security group's own pass (`rules.rs`), which hears of it through the store.

use std::collections::BTreeMap;

use model::{
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
    /// Computes and stores what the group's bindings need open. Says whether that changed what is stored. In the steady
    /// state it asks nobody: interfaces are remembered by `aws`, and equal openings are not written.
    pub(crate) async fn open(&self, input: &mut Input, memory: &mut Memory) -> Result<bool, Error> {
        let places = places(input);
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
        input.unopened.clear();
        let computed = compute(input, &interfaces);
        for bound in &input.bindings {
            let id = bound.binding.id;
            let Some(Computed { openings, problem }) = computed.get(&id) else {
                continue;
            };
            if let Some(problem) = problem {
                input.unopened.insert(id, problem.clone());
            }
            if let Some(openings) = openings {
                let shard = bound.cluster.spec.shard();
                changed |= self
                    .store
                    .write_openings(&self.fence, &input.arn, id, &shard, openings)
                    .await?;
            }
        }
        memory.seen.unopened.clone_from(&input.unopened);
        Ok(changed)
    }
}
