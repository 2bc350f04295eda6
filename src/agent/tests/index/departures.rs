//! Endpoints that leave the union of their Service's slices.

use std::collections::BTreeSet;

use agent::index::{Event, Input};
use model::{
    fact::Evidence,
    stream::{Statement, Update},
};

use crate::support::{following, name, permutations, pod, slice, subscription, uid};

/// S20.
#[test]
fn an_endpoint_that_moves_between_slices_in_any_order_does_not_depart() {
    // Pod 1 is in slice 1 and ends in slice 3; slice 2 holds it for a while. Each step sets one slice.
    let steps: [(u8, &[u8]); 4] = [(2, &[1, 8]), (3, &[1, 9]), (1, &[7]), (2, &[8])];
    for order in permutations(&steps) {
        // The last word on slice 2 is that it does not hold the pod.
        let last_of_two = order.iter().rev().find(|(slice, _)| *slice == 2);
        if last_of_two.is_none_or(|(_, endpoints)| endpoints.contains(&1)) {
            continue;
        }
        for drain_between in [false, true] {
            let mut holders = BTreeSet::from([1]);
            let start = vec![
                slice(1, "web", &[1, 7]),
                slice(2, "web", &[8]),
                slice(3, "web", &[9]),
            ];
            let (mut index, mut mirror) = following(start);
            let mut departures = Vec::new();
            let mut proofs = Vec::new();
            let mut always_there = true;
            for (number, endpoints) in &order {
                index.handle(Input::Slices(Event::Apply(slice(*number, "web", endpoints))));
                if endpoints.contains(&1) {
                    holders.insert(*number)
                } else {
                    holders.remove(number)
                };
                always_there &= !holders.is_empty();
                proofs.extend(index.take_proofs());
                if drain_between {
                    departures.extend(mirror.drain(&mut index).0);
                }
            }
            // The reads come back after the endpoint did.
            for proof in &proofs {
                index.proven(&proof.service, &proof.key, Evidence::NotSelected);
            }
            departures.extend(mirror.drain(&mut index).0);
            assert_eq!(departures, [], "{order:?}");
            assert!(proofs.is_empty() || !always_there, "{order:?}");
            let held = mirror.slices[&name("web")]
                .values()
                .flat_map(|slice| &slice.endpoints);
            assert_eq!(
                held.filter(|endpoint| endpoint.pod == Some(pod(1))).count(),
                1,
                "{order:?}"
            );
        }
    }
}

#[test]
fn a_terminating_endpoint_departs_with_its_evidence_after_the_slice_that_lost_it() {
    let (mut index, _) = following(vec![slice(1, "web", &[1, 2])]);
    index.handle(Input::Slices(Event::Apply(slice(1, "web", &[101, 2]))));
    index.handle(Input::Slices(Event::Apply(slice(1, "web", &[2]))));
    assert_eq!(index.take_proofs(), []);
    let updates: Vec<_> = std::iter::from_fn(|| index.next_statement()).collect();
    let [
        Statement::Update {
            update: Update::Slices { .. },
            ..
        },
        Statement::Update {
            update: Update::Departures { vanished, .. },
            ..
        },
    ] = updates.as_slice()
    else {
        panic!("{updates:?}")
    };
    assert_eq!((vanished.len(), vanished[0].evidence), (1, Evidence::Terminating));
    assert_eq!(vanished[0].pod, Some(pod(1)));
}

#[test]
fn a_departure_is_told_with_what_the_read_proved_and_again_until_it_is_stored() {
    let (mut index, mut mirror) = following(vec![slice(1, "web", &[1, 2])]);
    index.handle(Input::Slices(Event::Delete {
        object: name("slice-1"),
        uid: uid(3, 1),
    }));
    assert_eq!(
        mirror.drain(&mut index).0,
        [],
        "the slice goes at once, the reason follows"
    );
    let proofs = index.take_proofs();
    assert_eq!(proofs.len(), 2);
    for proof in &proofs {
        index.proven(&proof.service, &proof.key, Evidence::PodGone);
    }
    let (departures, revision) = mirror.drain(&mut index);
    assert!(
        departures
            .iter()
            .all(|vanished| vanished.evidence == Evidence::PodGone)
    );
    assert_eq!(departures.len(), 2);

    index.disconnect();
    index.connect(2);
    index.subscribe(subscription(&["web"]), false);
    let (again, _) = mirror.drain(&mut index);
    assert_eq!(again, departures, "nobody said that it was stored");

    index.acknowledged(revision + 10);
    index.disconnect();
    index.connect(3);
    index.subscribe(subscription(&["web"]), false);
    assert_eq!(mirror.drain(&mut index).0, []);
}
