//! Making permissions fit into a group's limit: exact ports as long as they fit, ranges as few and as narrow as they must.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    binding::Peer,
    fact::Protocol,
    network::{Permission, PortRange},
};

/// What is to be there.
#[derive(Debug, Default)]
pub(super) struct Fit {
    pub rules: BTreeSet<Permission>,
    /// What does not fit at all.
    pub left_out: BTreeSet<Permission>,
}

/// Makes `needed` fit into `room` rules, or into `most` if even the widest ranges do not. What `is_there` stays first.
pub(super) fn fit(
    needed: &BTreeSet<Permission>,
    room: usize,
    most: usize,
    is_there: impl Fn(&Permission) -> bool,
) -> Fit {
    let mut ranges: BTreeMap<(Protocol, &Peer), Vec<PortRange>> = BTreeMap::new();
    for permission in needed {
        let key = (permission.protocol, &permission.peer);
        ranges.entry(key).or_default().push(permission.ports);
    }
    let mut count = needed.len();
    while count > room {
        let Some((key, index)) = narrowest_gap(&ranges) else {
            break;
        };
        let ports = ranges.get_mut(&key).expect("the gap is in one of them");
        let next = ports.remove(index + 1);
        ports[index] = ports[index].hull(next);
        count -= 1;
    }
    let mut rules: Vec<_> = ranges
        .into_iter()
        .flat_map(|((protocol, peer), ports)| {
            ports.into_iter().map(move |ports| Permission {
                protocol,
                peer: peer.clone(),
                ports,
            })
        })
        .collect();
    rules.sort_by_key(|rule| !is_there(rule));
    let left_out = rules.split_off(rules.len().min(most));
    let unserved = |permission: &&Permission| left_out.iter().any(|rule| rule.covers(permission));
    Fit {
        left_out: needed.iter().filter(unserved).cloned().collect(),
        rules: rules.into_iter().collect(),
    }
}

/// The two neighbours between which the fewest ports would be opened that nobody asked for.
fn narrowest_gap<'a>(
    ranges: &BTreeMap<(Protocol, &'a Peer), Vec<PortRange>>,
) -> Option<((Protocol, &'a Peer), usize)> {
    let gap = |pair: &[PortRange]| pair[1].from().saturating_sub(pair[0].to());
    ranges
        .iter()
        .flat_map(|(key, ports)| {
            let pairs = ports.windows(2).enumerate();
            pairs.map(move |(index, pair)| (gap(pair), *key, index))
        })
        .min()
        .map(|(_, key, index)| (key, index))
}
