//! From what is stored and remembered to what a plan is made from.

use model::{TargetGroupArn, guard::Guards};
use planner::{Circumstances, Input};
use store::Store;

use crate::memory::Memory;

/// Reads everything about the group but AWS.
pub(crate) async fn gather(
    store: &Store,
    arn: &TargetGroupArn,
    memory: &Memory,
    guards: &Guards,
    circumstances: Circumstances,
) -> store::Result<Input> {
    // Twice the window: a removal at its very start counts those before it.
    let stored = store.group(arn, guards.window * 2).await?;
    Ok(Input::new(
        stored,
        memory.seen.clone(),
        guards.clone(),
        circumstances,
    ))
}
