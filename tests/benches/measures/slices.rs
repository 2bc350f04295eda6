//! EndpointSlices as Kubernetes' controller would write them, where none runs.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::{api::discovery::v1::EndpointSlice, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

/// A pod behind a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) address: Ipv4Addr,
    /// It is terminating.
    pub(crate) ends: bool,
}

impl Pod {
    pub(crate) fn ready(address: Ipv4Addr) -> Self {
        Self { address, ends: false }
    }

    pub(crate) fn terminating(address: Ipv4Addr) -> Self {
        Self { address, ends: true }
    }
}

/// The name of a target group, and of its Service.
pub(crate) fn name(group: u8) -> String {
    format!("group-{group}")
}

/// The address of a pod of a group.
pub(crate) fn address(group: u8, pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, group, pod)
}

/// The slices of `default`, one for each Service, of the same name.
pub(crate) struct Slices(Api<EndpointSlice>);

impl Slices {
    pub(crate) fn new(client: &Client) -> Self {
        Self(Api::default_namespaced(client.clone()))
    }

    pub(crate) async fn create(&self, service: &str, pods: &[Pod]) {
        self.0
            .create(&PostParams::default(), &slice(service, pods))
            .await
            .unwrap();
    }

    /// Answers when the write began.
    pub(crate) async fn replace(&self, service: &str, pods: &[Pod]) -> Timestamp {
        let slice = slice(service, pods);
        // Without a resourceVersion the write is unconditional.
        let begun = crate::now();
        self.0
            .replace(service, &PostParams::default(), &slice)
            .await
            .unwrap();
        begun
    }
}

pub(crate) fn pod_name(service: &str, pod: Pod) -> String {
    let [_, _, c, d] = pod.address.octets();
    format!("{service}-{c}-{d}")
}

fn slice(service: &str, pods: &[Pod]) -> EndpointSlice {
    let endpoints: Vec<_> = pods
        .iter()
        .map(|pod| {
            let Pod { address, ends } = pod;
            let [a, b, c, d] = address.octets();
            let pod = json!({"kind": "Pod", "namespace": "default", "name": pod_name(service, *pod),
                "uid": format!("00000000-0000-0000-0000-{a:03}{b:03}{c:03}{d:03}")});
            json!({"addresses": [address], "targetRef": pod,
                "conditions": {"ready": !ends, "serving": true, "terminating": ends}})
        })
        .collect();
    let labels = BTreeMap::from([("kubernetes.io/service-name", service)]);
    serde_json::from_value(json!({
        "metadata": {"name": service, "labels": labels}, "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}], "endpoints": endpoints,
    }))
    .unwrap()
}
