//! What became of a Service's endpoints, as the API server told it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use awssim::Entry;
use futures::TryStreamExt;
use k8s_openapi::{api::discovery::v1::EndpointSlice, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, watcher},
};
use runtime::{Kind, Tasks};

/// An address that became a target, or ceased to be one.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: Timestamp,
    pub(crate) address: String,
    pub(crate) ready: bool,
}

/// AWS's tokens for calls of one kind.
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) burst: u32,
    pub(crate) per_second: f64,
}

/// Of RegisterTargets and DeregisterTargets.
pub(crate) const REGISTRATION: Bucket = Bucket {
    burst: 20,
    per_second: 4.0,
};

/// Follows the slices of `default`.
pub(crate) struct Changes {
    seen: Arc<Mutex<Seen>>,
    tasks: Tasks,
}

#[derive(Default)]
struct Seen {
    /// The ready addresses by slice.
    slices: BTreeMap<String, BTreeSet<String>>,
    ready: BTreeSet<String>,
    changes: Vec<Change>,
}

impl Changes {
    pub(crate) fn follow(client: &Client) -> Self {
        let (seen, tasks) = (Arc::<Mutex<Seen>>::default(), Tasks::new());
        let api: Api<EndpointSlice> = Api::default_namespaced(client.clone());
        let events = watcher(api, watcher::Config::default());
        let heard = seen.clone();
        tasks.spawn(Kind::Job, "changes", async move {
            events
                .try_for_each(async |event| {
                    heard.lock().unwrap().hear(event);
                    Ok(())
                })
                .await
                .unwrap();
        });
        Self { seen, tasks }
    }

    /// The addresses that are ready now.
    pub(crate) fn ready(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().ready.clone()
    }

    /// What has changed since this was asked last.
    pub(crate) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut self.seen.lock().unwrap().changes)
    }

    pub(crate) async fn stop(self) {
        self.tasks.stop(Duration::from_secs(1)).await;
    }
}

impl Seen {
    fn hear(&mut self, event: watcher::Event<EndpointSlice>) {
        match event {
            watcher::Event::InitApply(slice) | watcher::Event::Apply(slice) => {
                let ready = slice
                    .endpoints
                    .iter()
                    .filter(|endpoint| endpoint.conditions.as_ref().and_then(|is| is.ready) == Some(true))
                    .flat_map(|endpoint| endpoint.addresses.iter().cloned());
                self.slices.insert(slice.name_any(), ready.collect());
            }
            watcher::Event::Delete(slice) => {
                self.slices.remove(&slice.name_any());
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
        let ready: BTreeSet<String> = self.slices.values().flatten().cloned().collect();
        let at = crate::now();
        let change = |ready: bool| {
            move |address: &String| Change {
                at,
                address: address.clone(),
                ready,
            }
        };
        self.changes
            .extend(ready.difference(&self.ready).map(change(true)));
        self.changes
            .extend(self.ready.difference(&ready).map(change(false)));
        self.ready = ready;
    }
}

/// The calls that carry changes: by what became of an address, and the address.
struct Carried<'a>(BTreeMap<(bool, &'a str), Vec<&'a Entry>>);

impl<'a> Carried<'a> {
    fn by(calls: &'a [Entry]) -> Self {
        let mut carried: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.error_code.is_none()) {
            let registers = match call.action.as_str() {
                "RegisterTargets" => true,
                "DeregisterTargets" => false,
                _ => continue,
            };
            let ids = call
                .params
                .iter()
                .filter(|(key, _)| key.starts_with("Targets.") && key.ends_with(".Id"));
            for (_, id) in ids {
                carried.entry((registers, id.as_str())).or_default().push(call);
            }
        }
        Self(carried)
    }

    /// Panics if no call carries it.
    fn call(&self, Change { at, address, ready }: &Change) -> &'a Entry {
        // The agent may have heard of it a little before.
        let from = *at - jiff::SignedDuration::from_secs(1);
        self.0
            .get(&(*ready, address.as_str()))
            .and_then(|calls| calls.iter().find(|call| call.received >= from))
            .unwrap_or_else(|| panic!("no call carries {address}, ready: {ready}"))
    }
}

/// How long after each change AWS received the call that carries it. Panics if one carries none.
pub(crate) fn delays(changes: &[Change], calls: &[Entry]) -> (Vec<Duration>, Vec<Duration>) {
    let carried = Carried::by(calls);
    let (mut additions, mut removals) = (Vec::new(), Vec::new());
    for change in changes {
        let delay = carried.call(change).received.duration_since(change.at);
        let delay = Duration::try_from(delay).unwrap_or_default();
        if change.ready {
            &mut additions
        } else {
            &mut removals
        }
        .push(delay);
    }
    (additions, removals)
}

/// When the last call comes at the earliest, whoever chooses the calls: each group's last addition and its last removal
/// need a call of their own after they happened, and AWS's bucket, even if it was full until then, gives no more.
pub(crate) fn earliest_end(changes: &[Change], calls: &[Entry], bucket: Bucket) -> Timestamp {
    let carried = Carried::by(calls);
    let mut last: BTreeMap<_, Timestamp> = BTreeMap::new();
    for change in changes {
        let group = carried.call(change).param("TargetGroupArn");
        let at = last.entry((change.ready, group)).or_insert(change.at);
        *at = change.at.max(*at);
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_unstable_by(|one, other| other.cmp(one));
    let ends = last.iter().zip(1_u32..).map(|(at, calls)| {
        let beyond = f64::from(calls.saturating_sub(bucket.burst));
        let wait = Duration::from_secs_f64(beyond / bucket.per_second);
        *at + wait
    });
    ends.max().expect("there are changes")
}
