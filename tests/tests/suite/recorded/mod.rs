//! What the AWS Load Balancer Controller did with the same manifests, and what Elbow does: `tests/recorded`.
//!
//! Each case is applied step by step to a real control plane, through agent and server, to the simulated AWS. In the end
//! of each step the targets and the openings in the nodes' security group are those that LBC left, or those that
//! `differences.json` lists with the reason. A difference that does not occur any more fails as well.

mod case;
mod world;

use std::collections::BTreeSet;

use case::{Case, Difference};
use futures::{StreamExt, stream};
use world::World;

/// Cases that are under way at once. Those that open security groups take turns, since they share the nodes' group.
const SIDE_BY_SIDE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn elbow_leaves_what_lbc_leaves_or_what_is_listed() {
    if !tests::available() {
        return;
    }
    let cases = case::all();
    let differences = case::differences();
    check_listed(&cases, &differences);
    let world = World::start(&cases).await;
    let (networking, others): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.opens);
    let side_by_side =
        stream::iter(&others).for_each_concurrent(SIDE_BY_SIDE, |case| world.play(case, &differences));
    let in_turn = stream::iter(&networking).for_each(|case| world.play(case, &differences));
    tokio::join!(side_by_side, in_turn);
    let failures = world.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every listed difference names a step that is played.
fn check_listed(cases: &[Case], differences: &[Difference]) {
    let steps: BTreeSet<_> = cases
        .iter()
        .flat_map(|case| case.steps.iter().map(|step| (&*case.name, &*step.name)))
        .collect();
    for difference in differences {
        assert!(
            steps.contains(&(&*difference.case, &*difference.step)),
            "differences.json lists step {} of {}, which there is not",
            difference.step,
            difference.case
        );
        assert!(!difference.reason.is_empty(), "{difference:?} has no reason");
    }
}
