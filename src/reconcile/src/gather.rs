//! From what is stored and remembered to what a plan is made from.

use jiff::{SignedDuration, Timestamp};
use model::{TargetGroupArn, guard::Guards};
use planner::{BindingInput, ClusterView, Input};
use store::{BoundService, GroupSnapshot, Store};

use crate::memory::Memory;

/// Reads everything about the group but AWS.
pub(crate) async fn gather(
    store: &Store,
    arn: &TargetGroupArn,
    memory: &Memory,
    guards: &Guards,
    fenced_until: Option<Timestamp>,
) -> store::Result<Input> {
    // Twice the window: a removal at its very start counts those before it.
    let removals_within = SignedDuration::from_millis_i128(guards.window.as_millis() * 2);
    let snapshot = store.group(arn, removals_within).await?;
    Ok(input(snapshot, memory, guards, fenced_until))
}

fn input(
    snapshot: GroupSnapshot,
    memory: &Memory,
    guards: &Guards,
    fenced_until: Option<Timestamp>,
) -> Input {
    let GroupSnapshot {
        now,
        arn,
        restored,
        declared,
        bindings,
        ledger,
        removals,
        released,
    } = snapshot;
    Input {
        now,
        guards: guards.clone(),
        restored,
        fenced_until,
        arn,
        declared,
        facts: memory.facts.clone(),
        targets: memory.targets.clone(),
        bindings: bindings.into_iter().map(bound).collect(),
        ledger,
        removals,
        released,
        failure: memory.failure.clone(),
    }
}

fn bound(bound: BoundService) -> BindingInput {
    let BoundService {
        binding,
        cluster,
        last_seen,
        facts,
    } = bound;
    let cluster = ClusterView {
        id: cluster.id,
        mode: cluster.spec.mode,
        shard: cluster.spec.shard(),
        vpc_id: cluster.spec.vpc_id,
        name: cluster.name,
        last_seen,
    };
    BindingInput {
        binding,
        cluster,
        facts,
    }
}
