//! What somebody sees who does not ask Elbow: AWS by its own SDK, and clusters by `kubectl`.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_elasticloadbalancingv2::Client;
use serde_json::Value;

use crate::{Error, Result, fixture, kubernetes::Access};

/// A target as DescribeTargetHealth tells it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `id:port`.
    pub key: String,
    /// The state, in AWS's words.
    pub state: String,
    /// The reason, in AWS's words.
    pub reason: Option<String>,
}

/// A pod of the tutorial that has an address and is not on its way out.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its address.
    pub address: String,
}

/// AWS's own SDK against the endpoint, as anybody could use it, with the account's number as its key.
pub async fn elbv2(endpoint: &str) -> Client {
    let credentials = Credentials::new(fixture::ACCOUNT, "independent", None, None, "onlooker");
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(fixture::REGION))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .load()
        .await;
    Client::new(&config)
}

/// The targets of a group.
pub async fn targets(client: &Client, arn: &str) -> Result<Vec<Target>> {
    let asked = client.describe_target_health().target_group_arn(arn).send().await;
    let answer = asked.map_err(|error| refused("DescribeTargetHealth", &error))?;
    let described = answer.target_health_descriptions().iter();
    let told = described.filter_map(|description| {
        let (target, health) = (description.target()?, description.target_health());
        Some(Target {
            key: format!("{}:{}", target.id()?, target.port()?),
            state: health
                .and_then(|health| health.state())
                .map_or_else(String::new, |state| state.as_str().to_owned()),
            reason: health
                .and_then(|health| health.reason())
                .map(|reason| reason.as_str().to_owned()),
        })
    });
    Ok(told.collect())
}

/// What the listeners of a load balancer forward to: port → ARNs of target groups.
pub async fn listeners(client: &Client, load_balancer: &str) -> Result<BTreeMap<i32, Vec<String>>> {
    let asked = client
        .describe_listeners()
        .load_balancer_arn(load_balancer)
        .send()
        .await;
    let answer = asked.map_err(|error| refused("DescribeListeners", &error))?;
    let listeners = answer.listeners().iter().map(|listener| {
        let groups = listener.default_actions().iter();
        let groups = groups
            .filter_map(|action| action.target_group_arn())
            .map(str::to_owned);
        (listener.port().unwrap_or_default(), groups.collect())
    });
    Ok(listeners.collect())
}

fn refused(action: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    Error::Aws(format!("{action}: {error}: {cause}"))
}

/// The tutorial's pods in a cluster.
pub fn pods(cluster: &Access) -> Result<Vec<Pod>> {
    let list = cluster.get("pods -l app=nginx")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let alive = items(&list).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let pods = alive.filter_map(|pod| {
        Some(Pod {
            name: text(&pod["metadata"]["name"])?,
            uid: text(&pod["metadata"]["uid"])?,
            address: text(&pod["status"]["podIP"])?,
        })
    });
    Ok(pods.collect())
}

/// The addresses of a Service's ready endpoints, as its EndpointSlices tell them.
pub fn ready_endpoints(cluster: &Access, service: &str) -> Result<BTreeSet<String>> {
    let list = cluster.get(&format!("endpointslices -l kubernetes.io/service-name={service}"))?;
    let addresses = items(&list)
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str().map(str::to_owned));
    Ok(addresses.collect())
}

/// The EC2 instances behind a cluster's nodes: instance → node.
pub fn instances(cluster: &Access) -> Result<BTreeMap<String, String>> {
    let list = cluster.get("nodes")?;
    let nodes = items(&list).filter_map(|node| {
        let provider = node["spec"]["providerID"].as_str()?;
        let instance = provider.rsplit('/').next()?;
        Some((instance.to_owned(), node["metadata"]["name"].as_str()?.to_owned()))
    });
    Ok(nodes.collect())
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}
