//! The kinds of resources: what they are called, where they are found, and what a person wants to see of each.

use std::cmp::Reverse;

use clap::{Args, ValueEnum};
use futures::StreamExt;
use serde_json::Value;

use crate::{
    Error,
    client::{Client, Message, Query},
    command::summary,
    output::{Column, age, count, text, texts},
};

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// AWS accounts that are entered by a role.
    #[value(aliases = ["account", "acc"])]
    Accounts,
    #[value(aliases = ["cluster", "cl"])]
    Clusters,
    /// People and portals whose tokens reach the same places.
    #[value(aliases = ["team"])]
    Teams,
    #[value(name = "target-groups", aliases = ["target-group", "targetgroups", "targetgroup", "tg"])]
    TargetGroups,
    #[value(aliases = ["binding", "b", "tgb"])]
    Bindings,
    /// What clusters stated about the Services of bindings.
    #[value(aliases = ["endpoint", "ep"])]
    Endpoints,
    /// All clusters together: whether so many are silent that removals wait.
    Fleet,
    /// Removals that wait for somebody.
    #[value(aliases = ["hold", "h"])]
    Holds,
    #[value(aliases = ["plan", "pl"])]
    Plans,
    /// Where bindings need ports open, and which rules are Elbow's.
    #[value(name = "security-groups", aliases = ["security-group", "securitygroups", "securitygroup", "sg"])]
    SecurityGroups,
    /// AWS accounts and regions.
    #[value(aliases = ["shard", "sh"])]
    Shards,
    /// Where nothing is written to AWS.
    #[value(aliases = ["pause"])]
    Pauses,
    /// Who changed what.
    Audit,
    /// What changed, as far as it is kept.
    #[value(aliases = ["event", "ev"])]
    Events,
    /// The tokens of people, portals and agents, without themselves.
    #[value(aliases = ["token"])]
    Tokens,
}

/// Where to look.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only of this cluster.
    #[arg(long, short)]
    pub(crate) cluster: Option<String>,
    /// Only of this namespace.
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
    /// Only of this target group: what is in it and, of a managed one, itself (plans).
    #[arg(long, short = 'g')]
    pub(crate) target_group: Option<String>,
    /// The plans of this security group's rules instead (plans).
    #[arg(long, conflicts_with = "target_group")]
    pub(crate) security_group: Option<String>,
    /// Only of this Service (endpoints).
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Also what has ended (holds).
    #[arg(long)]
    pub(crate) ended: bool,
}

impl Kind {
    /// For messages and for `-o name`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Accounts => "account",
            Self::Clusters => "cluster",
            Self::Teams => "team",
            Self::TargetGroups => "target-group",
            Self::Bindings => "binding",
            Self::Endpoints => "endpoints",
            Self::Fleet => "fleet",
            Self::Holds => "hold",
            Self::Plans => "plan",
            Self::SecurityGroups => "security-group",
            Self::Shards => "shard",
            Self::Pauses => "pause",
            Self::Audit => "audit",
            Self::Events => "event",
            Self::Tokens => "token",
        }
    }

    /// Everything of this kind that the filter lets through.
    pub(crate) async fn list(self, client: &Client, filter: &Filter) -> Result<Vec<Value>, Error> {
        match self {
            Self::Accounts => client.list(&["accounts"], Vec::new()).await,
            Self::Fleet => Ok(vec![client.get(&["fleet"], Vec::new()).await?]),
            Self::Clusters => client.list(&["clusters"], Vec::new()).await,
            Self::Teams => client.list(&["teams"], Vec::new()).await,
            Self::TargetGroups => client.list(&["target-groups"], Vec::new()).await,
            Self::SecurityGroups => client.list(&["security-groups"], Vec::new()).await,
            Self::Shards => client.list(&["shards"], Vec::new()).await,
            Self::Pauses => client.list_all(&["pauses"]).await,
            Self::Audit => client.list(&["audit"], Vec::new()).await,
            Self::Tokens => client.list(&["tokens"], Vec::new()).await,
            Self::Events => Self::events(client).await,
            Self::Holds => {
                let ended: Query<'_> = filter
                    .ended
                    .then(|| ("ended", "true".to_owned()))
                    .into_iter()
                    .collect();
                let mut holds = client.list(&["holds"], ended).await?;
                let cluster = filter.cluster.as_deref();
                holds.retain(|hold| cluster.is_none_or(|cluster| hold["cluster"] == cluster));
                Ok(holds)
            }
            Self::Bindings => {
                let cluster = filter.cluster.clone().map(|name| ("cluster", name));
                let mut bindings = client.list(&["bindings"], cluster.into_iter().collect()).await?;
                let namespace = filter.namespace.as_deref();
                bindings
                    .retain(|binding| namespace.is_none_or(|namespace| binding["namespace"] == namespace));
                // Pages come in the order of ids.
                bindings.sort_by_cached_key(|it| {
                    ["cluster", "namespace", "name"].map(|field| it[field].to_string())
                });
                Ok(bindings)
            }
            Self::Endpoints => Self::endpoints(client, filter).await,
            Self::Plans => Self::plans(client, filter).await,
        }
    }

    /// From the oldest that is kept to now.
    async fn events(client: &Client) -> Result<Vec<Value>, Error> {
        let mut messages = client.follow(Some("0-0"), false).await?;
        let mut events = Vec::new();
        while let Some(message) = messages.next().await {
            let Message {
                id,
                event: _,
                mut data,
            } = message?;
            // What was before the oldest is forgotten; nothing else is said without an id.
            if let Some(id) = id {
                data["id"] = id.into();
                events.push(data);
            }
        }
        Ok(events)
    }

    /// Of one cluster, or of each.
    async fn endpoints(client: &Client, filter: &Filter) -> Result<Vec<Value>, Error> {
        let mut found = Vec::new();
        for cluster in Self::Clusters.names_or(client, filter.cluster.as_deref()).await? {
            let namespace = filter.namespace.clone().map(|name| ("namespace", name));
            let service = filter.service.clone().map(|name| ("service", name));
            let query = namespace.into_iter().chain(service).collect();
            let mut services = client.list(&["clusters", &cluster, "endpoints"], query).await?;
            for service in &mut services {
                service["cluster"] = cluster.clone().into();
            }
            found.extend(services);
        }
        Ok(found)
    }

    /// Of one target group or security group, or of each target group.
    async fn plans(client: &Client, filter: &Filter) -> Result<Vec<Value>, Error> {
        if let Some(group) = &filter.security_group {
            return client
                .list(&["security-groups", group, "plans"], Vec::new())
                .await;
        }
        let mut found = Vec::new();
        let groups = Self::TargetGroups
            .names_or(client, filter.target_group.as_deref())
            .await?;
        for group in groups {
            let of_itself = client
                .list(&["target-groups", &group, "plans"], Vec::new())
                .await?;
            let of_targets = client.list(&["plans"], vec![("targetGroup", group)]).await?;
            found.extend(of_itself.into_iter().chain(of_targets));
        }
        found.sort_by_key(|plan| Reverse(text(plan, "/at")));
        Ok(found)
    }

    async fn names_or(self, client: &Client, name: Option<&str>) -> Result<Vec<String>, Error> {
        if let Some(name) = name {
            return Ok(vec![name.to_owned()]);
        }
        let all = Box::pin(self.list(client, &Filter::default())).await?;
        Ok(all.iter().map(|resource| self.name_of(resource)).collect())
    }

    /// The one of this name.
    pub(crate) async fn get(self, client: &Client, name: &str, filter: &Filter) -> Result<Value, Error> {
        match self {
            Self::Accounts => client.get(&["accounts", name], Vec::new()).await,
            Self::Clusters => client.get(&["clusters", name], Vec::new()).await,
            Self::Teams => client.get(&["teams", name], Vec::new()).await,
            Self::TargetGroups => client.get(&["target-groups", name], Vec::new()).await,
            Self::SecurityGroups => client.get(&["security-groups", name], Vec::new()).await,
            Self::Holds => client.get(&["holds", name], Vec::new()).await,
            Self::Plans => client.get(&["plans", name], Vec::new()).await,
            Self::Bindings => {
                let [cluster, namespace, name] = binding_name(name, filter)?;
                client
                    .get(&["clusters", &cluster, "bindings", &namespace, &name], Vec::new())
                    .await
            }
            Self::Endpoints
            | Self::Fleet
            | Self::Shards
            | Self::Pauses
            | Self::Audit
            | Self::Events
            | Self::Tokens => {
                let found = self.list(client, filter).await?;
                let named =
                    |resource: &Value| self.name_of(resource) == name || text(resource, "/service") == name;
                found.into_iter().find(named).ok_or_else(|| Error::NotFound {
                    kind: self.singular(),
                    name: name.to_owned(),
                })
            }
        }
    }

    /// The name by which [`Self::get`] finds it again.
    pub(crate) fn name_of(self, resource: &Value) -> String {
        let parts: &[&str] = match self {
            Self::Fleet => return "fleet".to_owned(),
            Self::Accounts | Self::Clusters | Self::Teams | Self::TargetGroups | Self::Shards => &["/name"],
            Self::SecurityGroups | Self::Holds | Self::Plans | Self::Audit | Self::Events | Self::Tokens => {
                &["/id"]
            }
            Self::Pauses => &["/subject"],
            Self::Bindings => &["/cluster", "/namespace", "/name"],
            Self::Endpoints => &["/cluster", "/namespace", "/service"],
        };
        let parts: Vec<_> = parts.iter().map(|part| text(resource, part)).collect();
        parts.join("/")
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn columns(self) -> Vec<Column> {
        match self {
            Self::Accounts => vec![
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("ROLE", |it, _| text(it, "/spec/role/arn")),
                Column::wide("VERSION", |it, _| text(it, "/version")),
            ],
            Self::Teams => vec![
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("SCOPE", |it, _| texts(it, "/spec/scope")),
                Column::wide("VERSION", |it, _| text(it, "/version")),
            ],
            Self::Fleet => vec![
                Column::new("CLUSTERS", |it, _| text(it, "/clusters")),
                Column::new("SILENT", |it, _| text(it, "/silent")),
                Column::new("FROZEN", |it, _| text(it, "/frozen")),
                Column::new("RELEASED", |it, now| age(it, "/releasedAt", now)),
            ],
            Self::Clusters => vec![
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("ACCOUNT", |it, _| text(it, "/spec/account")),
                Column::new("REGION", |it, _| text(it, "/spec/region")),
                Column::new("MODE", |it, _| text(it, "/spec/mode")),
                Column::new("SEEN", |it, now| age(it, "/status/seenAt", now)),
                Column::new("STATE", |it, _| cluster_state(it)),
                Column::new("SYNCED", |it, now| age(it, "/status/syncedAt", now)),
                Column::new("AGE", |it, now| age(it, "/metadata/createdAt", now)),
                Column::wide("VPC", |it, _| text(it, "/spec/vpcId")),
                Column::wide("AGENT", |it, _| text(it, "/status/agentInstance")),
                Column::wide("VERSION", |it, _| text(it, "/version")),
            ],
            Self::TargetGroups => vec![
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("OBSERVED", |it, _| text(it, "/status/observed")),
                Column::new("TYPE", |it, _| text(it, "/status/targetType")),
                Column::new("REGISTERED", |it, _| text(it, "/status/registered")),
                Column::new("IN USE", |it, _| text(it, "/status/inUse")),
                Column::new("CLUSTERS", |it, _| texts(it, "/spec/clusters")),
                Column::new("MANAGED", |it, _| text(it, "/status/managed/ready/reason")),
                // Others' and draining ones included, as AWS said then.
                Column::wide("IN AWS", |it, _| count(it, "/status/targets")),
                Column::wide("SEEN", |it, now| age(it, "/status/observedAt", now)),
                Column::wide("ARN", |it, _| text(it, "/status/arn")),
                Column::wide("VERSION", |it, _| text(it, "/version")),
            ],
            Self::Bindings => vec![
                Column::new("CLUSTER", |it, _| text(it, "/cluster")),
                Column::new("NAMESPACE", |it, _| text(it, "/namespace")),
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("SERVICE", |it, _| service(it)),
                Column::new("READY", |it, _| text(it, "/status/ready/status")),
                Column::new("REASON", |it, _| text(it, "/status/ready/reason")),
                Column::new("TARGETS", |it, _| {
                    let [registered, desired] =
                        ["registered", "desired"].map(|what| text(it, &format!("/status/{what}")));
                    format!("{registered}/{desired}")
                }),
                Column::new("HELD", |it, _| text(it, "/status/held")),
                Column::new("AGE", |it, now| age(it, "/metadata/createdAt", now)),
                Column::wide("ORIGIN", |it, _| text(it, "/origin")),
                Column::wide("LIFECYCLE", |it, _| text(it, "/status/lifecycle")),
                Column::wide("TARGET GROUP", |it, _| arn_name(it, "/status/targetGroupArn")),
                Column::wide("MESSAGE", |it, _| text(it, "/status/ready/message")),
            ],
            Self::Endpoints => vec![
                Column::new("CLUSTER", |it, _| text(it, "/cluster")),
                Column::new("NAMESPACE", |it, _| text(it, "/namespace")),
                Column::new("SERVICE", |it, _| text(it, "/service")),
                Column::new("STATE", |it, _| text(it, "/state")),
                Column::new("READY", |it, _| {
                    endpoints(it, |endpoint| endpoint["ready"] == true)
                }),
                Column::new("ENDPOINTS", |it, _| endpoints(it, |_| true)),
                Column::new("DEPARTED", |it, _| count(it, "/departures")),
                Column::wide("CONFIRMED", |it, now| age(it, "/confirmedAt", now)),
            ],
            Self::Holds => vec![
                Column::new("ID", |it, _| text(it, "/id")),
                Column::new("REASON", |it, _| text(it, "/reason")),
                Column::new("OF", |it, _| match text(it, "/cluster") {
                    cluster if cluster.is_empty() => {
                        format!("target-group/{}", arn_name(it, "/targetGroupArn"))
                    }
                    cluster => format!("cluster/{cluster}"),
                }),
                Column::new("REMOVALS", |it, _| count(it, "/removals")),
                Column::new("SINCE", |it, now| age(it, "/since", now)),
                Column::new("RELEASED BY", |it, _| text(it, "/releasedBy")),
                Column::wide("RELEASE", |it, _| text(it, "/release")),
            ],
            Self::Plans => vec![
                Column::new("ID", |it, _| text(it, "/id")),
                Column::new("AGE", |it, now| age(it, "/at", now)),
                Column::new("OF", |it, _| {
                    let named = ["/plan/securityGroup", "/plan/targetGroup"].map(|of| text(it, of));
                    let named = named.into_iter().find(|name| !name.is_empty());
                    named.unwrap_or_else(|| arn_name(it, "/plan/targetGroupArn"))
                }),
                Column::new("STEPS", |it, _| steps(&it["plan"])),
                Column::new("HOLDS", |it, _| count(it, "/plan/holds")),
                Column::wide("EPOCH", |it, _| text(it, "/epoch")),
            ],
            Self::SecurityGroups => vec![
                Column::new("ID", |it, _| text(it, "/id")),
                Column::new("BINDINGS", |it, _| count(it, "/openings")),
                Column::new("OPEN", |it, _| {
                    let [open, needed] = ["open", "needed"].map(|field| permissions(it, field));
                    format!("{open}/{needed}")
                }),
                Column::new("RULES", |it, _| count(it, "/rules")),
                Column::new("NEXT", |it, _| match &it["plan"] {
                    Value::Null => "not looked at".to_owned(),
                    plan => steps(plan),
                }),
                Column::new("HELD", |it, _| reasons(it)),
                Column::wide("SHARD", |it, _| text(it, "/shard")),
            ],
            Self::Shards => vec![
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("HOLDER", |it, _| text(it, "/holder")),
                Column::new("RESTORED", |it, now| age(it, "/restoredAt", now)),
                Column::wide("EPOCH", |it, _| text(it, "/epoch")),
                Column::wide("DEADLINE", |it, _| text(it, "/deadline")),
            ],
            Self::Pauses => vec![
                Column::new("SUBJECT", |it, _| text(it, "/subject")),
                Column::new("PAUSED BY", |it, _| text(it, "/pausedBy")),
                Column::new("SINCE", |it, now| age(it, "/since", now)),
                Column::new("REASON", |it, _| text(it, "/reason")),
            ],
            Self::Audit => vec![
                Column::new("AGE", |it, now| age(it, "/at", now)),
                Column::new("ACTOR", |it, _| text(it, "/actor")),
                Column::new("ACTION", |it, _| text(it, "/action")),
                Column::new("OBJECT", |it, _| text(it, "/object")),
                Column::wide("BEFORE", |it, _| text(it, "/before")),
                Column::wide("AFTER", |it, _| text(it, "/after")),
            ],
            Self::Events => vec![
                Column::new("AGE", |it, now| age(it, "/at", now)),
                Column::new("CHANGE", |it, _| text(it, "/change")),
                Column::new("OBJECT", |it, _| text(it, "/object")),
                Column::new("WHAT", |it, _| summary(&it["body"])),
                Column::wide("ID", |it, _| text(it, "/id")),
            ],
            Self::Tokens => vec![
                Column::new("ID", |it, _| text(it, "/id")),
                Column::new("NAME", |it, _| text(it, "/name")),
                Column::new("ROLE", |it, _| text(it, "/role")),
                Column::new("CLUSTER", |it, _| text(it, "/cluster")),
                Column::new("TEAM", |it, _| text(it, "/team")),
                Column::new("SCOPE", |it, _| texts(it, "/scope")),
                Column::new("AGE", |it, now| age(it, "/createdAt", now)),
                Column::new("USED", |it, now| age(it, "/lastUsedAt", now)),
                Column::new("EXPIRES", |it, _| text(it, "/expiresAt")),
                Column::wide("ISSUER", |it, _| text(it, "/issuer")),
            ],
        }
    }
}

/// `cluster/namespace/name`, with what the filter says in place of what is left out.
pub(crate) fn binding_name(text: &str, filter: &Filter) -> Result<[String; 3], Error> {
    let mut parts: Vec<_> = text.split('/').map(str::to_owned).collect();
    if let (1, namespace) = (parts.len(), &filter.namespace) {
        parts.insert(0, namespace.clone().unwrap_or_else(|| "default".to_owned()));
    }
    if let (2, Some(cluster)) = (parts.len(), &filter.cluster) {
        parts.insert(0, cluster.clone());
    }
    parts.try_into().map_err(|_| {
        Error::usage(format!(
            "`{text}` does not say which binding: write CLUSTER/NAMESPACE/NAME, or NAME with --cluster and --namespace"
        ))
    })
}

/// What an operator should know of a cluster at a glance; nothing, if all is well.
fn cluster_state(cluster: &Value) -> String {
    let status = &cluster["status"];
    let leaving = text(cluster, "/status/leaving");
    let states = [
        (status["stale"] == true, "stale".to_owned()),
        (!status["cordonedAt"].is_null(), "cordoned".to_owned()),
        (!leaving.is_empty(), format!("leaving ({leaving})")),
    ];
    let told: Vec<_> = states
        .into_iter()
        .filter_map(|(is, state)| is.then_some(state))
        .collect();
    told.join(", ")
}

fn service(binding: &Value) -> String {
    match (text(binding, "/spec/service"), text(binding, "/spec/port")) {
        (service, port) if port.is_empty() => service,
        (service, port) => format!("{service}:{port}"),
    }
}

/// The name in an ARN `…:targetgroup/NAME/ID`.
pub(crate) fn arn_name(resource: &Value, pointer: &str) -> String {
    let arn = text(resource, pointer);
    arn.split('/').nth(1).unwrap_or(&arn).to_owned()
}

/// `register 3, deregister 1`; of a target group itself `create, setAttributes`.
pub(crate) fn steps(plan: &Value) -> String {
    let steps = plan["steps"].as_array().into_iter().flatten();
    let said: Vec<_> = steps
        .map(|step| {
            let action = text(step, "/action");
            let on = ["rules", "targets"].into_iter().find(|on| step[on].is_array());
            on.map_or(action.clone(), |on| {
                format!("{action} {}", count(step, &format!("/{on}")))
            })
        })
        .collect();
    if said.is_empty() {
        "nothing".to_owned()
    } else {
        said.join(", ")
    }
}

/// How many permissions all openings of a security group have of a sort.
fn permissions(group: &Value, field: &str) -> usize {
    let openings = group["openings"].as_array().into_iter().flatten();
    openings
        .map(|opening| opening[field].as_array().map_or(0, Vec::len))
        .sum()
}

/// `Paused, ModeAddOnly`.
fn reasons(group: &Value) -> String {
    let holds = group["plan"]["holds"].as_array().into_iter().flatten();
    holds
        .map(|hold| text(hold, "/reason"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn endpoints(service: &Value, counts: impl Fn(&Value) -> bool) -> String {
    let slices = service["slices"].as_array().into_iter().flatten();
    let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    endpoints.filter(|endpoint| counts(endpoint)).count().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_has_the_names_that_kubectl_would_give_it() {
        for (name, kind) in [
            ("clusters", Kind::Clusters),
            ("cluster", Kind::Clusters),
            ("target-groups", Kind::TargetGroups),
            ("targetgroup", Kind::TargetGroups),
            ("TG", Kind::TargetGroups),
            ("tgb", Kind::Bindings),
            ("ep", Kind::Endpoints),
        ] {
            assert_eq!(Kind::from_str(name, true), Ok(kind), "{name}");
        }
        assert!(Kind::from_str("nothing", true).is_err());
    }

    #[test]
    fn a_binding_is_named_in_full_or_with_flags() {
        let flags = Filter {
            cluster: Some("c".to_owned()),
            namespace: Some("n".to_owned()),
            ..Filter::default()
        };
        let full = binding_name("c/n/x", &Filter::default()).unwrap();
        assert_eq!(full, ["c", "n", "x"]);
        assert_eq!(binding_name("x", &flags).unwrap(), full);
        assert_eq!(binding_name("n/x", &flags).unwrap(), full);
        assert!(
            binding_name("x", &Filter::default())
                .unwrap_err()
                .to_string()
                .contains("--cluster")
        );
        assert!(binding_name("a/b/c/d", &flags).is_err());
    }

    #[test]
    fn a_plan_is_summed_up_by_its_steps() {
        let plan = json!({"steps": [{"action": "register", "targets": [1, 2]}, {"action": "forget", "targets": [1]}]});
        assert_eq!(steps(&plan), "register 2, forget 1");
        assert_eq!(steps(&json!({"steps": []})), "nothing");
    }
}
