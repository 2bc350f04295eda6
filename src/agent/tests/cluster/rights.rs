//! The agent's rights, as the chart gives them: without any one rule, it says what it may not do.

use std::time::Duration;

use model::stream::{Statement, Update};
use sandbox::{Progress, Wait, process::Process, wait_until};
use serde_json::{Value, json};
use wire::agent::v1::{self as v1, server_message::Message};

use crate::support::{Cluster, answer, gate, shop};

const ACCOUNT: &str = "system:serviceaccount:elbow-system:elbow-agent";
const DEADLINE: Duration = Duration::from_secs(30);

/// A rule of a role, and what is left of the role without it.
struct Rule {
    whole: Value,
    rest: Value,
    /// One verb and resource that it alone allows, as RBAC words them.
    verb: String,
    resource: String,
    /// How `kubectl auth can-i` names it.
    name: String,
    namespace: &'static str,
}

impl Rule {
    /// What the agent says without it: most in the API server's words.
    fn words(&self) -> String {
        match (self.resource.as_str(), self.verb.as_str()) {
            // Hints that are missing.
            ("validatingwebhookconfigurations", _) => "webhooks: None".to_owned(),
            ("leases", "list") => "lbc: None".to_owned(),
            (resource, verb) => format!("cannot {verb} resource \"{resource}\""),
        }
    }
}

fn rules(cluster: &Cluster) -> Vec<Rule> {
    let roles = cluster.kubectl(&[
        "-n",
        "elbow-system",
        "get",
        "clusterrole/elbow-agent",
        "role/elbow-agent",
        "-o",
        "json",
    ]);
    let roles: Value = serde_json::from_str(&roles).unwrap();
    let roles = roles["items"].as_array().unwrap();
    roles.iter().flat_map(rules_of).collect()
}

fn rules_of(role: &Value) -> Vec<Rule> {
    let whole = json!({
        "apiVersion": role["apiVersion"], "kind": role["kind"], "rules": role["rules"],
        "metadata": {"name": role["metadata"]["name"], "namespace": role["metadata"]["namespace"]},
    });
    let rules = whole["rules"].as_array().unwrap();
    let without = |index: usize| {
        let rule = &rules[index];
        let mut rest = whole.clone();
        rest["rules"].as_array_mut().unwrap().remove(index);
        // What the agent does first: it lists by watching.
        let verbs: Vec<_> = rule["verbs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let verb = if verbs.contains(&"watch") {
            "watch"
        } else {
            verbs[0]
        };
        let resource = rule["resources"][0].as_str().unwrap().to_owned();
        let (kind, group) = (
            resource.split('/').next().unwrap(),
            rule["apiGroups"][0].as_str().unwrap(),
        );
        let name = match rule["resourceNames"][0].as_str() {
            Some(name) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}.{group}"),
        };
        // The core group has no name.
        let name = name.replace("./", "/").trim_end_matches('.').to_owned();
        Rule {
            namespace: if resource == "leases" {
                "elbow-system"
            } else {
                "shop"
            },
            whole: whole.clone(),
            rest,
            verb: verb.to_owned(),
            name,
            resource,
        }
    };
    (0..rules.len()).map(without).collect()
}

impl Cluster {
    /// Whether the agent's account may; the API server hears of a changed role a moment later.
    async fn wait_until_may(&self, rule: &Rule, expected: bool) {
        let (account, namespace) = (
            format!("--as={ACCOUNT}"),
            format!("--namespace={}", rule.namespace),
        );
        let mut arguments = vec!["auth", "can-i", &rule.verb, &rule.name, &account, &namespace];
        arguments.extend(
            rule.resource
                .ends_with("/status")
                .then_some("--subresource=status"),
        );
        let what = format!("the end of {} {}", rule.verb, rule.resource);
        wait_until(DEADLINE, &what, &Progress::silent(), async || {
            let said = self
                .plane
                .kubectl(arguments.iter())
                .map_err(Wait::not_yet)?
                .stdout;
            if (said.trim() == "yes") == expected {
                Ok(())
            } else {
                Err(Wait::not_yet(said))
            }
        })
        .await
        .unwrap();
    }

    /// What the agent said of itself since `before`: its log, and what it told the service.
    fn said(&self, agent: &Process, before: usize) -> String {
        let log = std::fs::read_to_string(agent.log()).unwrap_or_default();
        let told = self.service.told();
        let told = format!("{:?} {:?}", &told.statements[before..], told.surroundings);
        format!("{log}{told}").replace('\\', "")
    }

    /// Makes the agent use every right: it starts, watches, proves an endpoint's end, writes a status, an event and a gate.
    /// Answers what it said of the right that it misses.
    async fn provoke(
        &self,
        agent: &Process,
        uids: (&str, &str),
        round: u32,
        hellos: usize,
        before: usize,
        words: &str,
    ) {
        let mut asked = false;
        wait_until(
            DEADLINE,
            &format!("the agent's words {words}"),
            &Progress::silent(),
            async || {
                let said = self.said(agent, before);
                if said.contains(words) {
                    return Ok(());
                }
                let told = self.service.told();
                let has_slices = told.statements[before..].iter().any(|statement| {
                    matches!(
                        statement,
                        Statement::Update {
                            update: Update::Slices { .. },
                            ..
                        }
                    )
                });
                if told.hellos.len() > hellos && has_slices && !asked {
                    asked = true;
                    self.slice("web-1", &["10.0.0.1"]);
                    let mut write_back = answer(uids.0);
                    if let Some(event) = &mut write_back.event {
                        event.message = format!("Round {round}.");
                    }
                    if let Some(status) = &mut write_back.target_group_binding {
                        status.conditions[0].message = format!("Round {round}.");
                    }
                    let write_back = v1::WriteBack {
                        write_back_id: u64::from(round) + 1,
                        ..write_back
                    };
                    self.service.say(Message::WriteBack(write_back)).await;
                    let gate = gate(u64::from(round) + 1000, uids.1, "False");
                    self.service.say(Message::Gate(gate)).await;
                }
                Err(Wait::not_yet(said))
            },
        )
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_rule_of_its_rights_the_agent_says_what_it_may_not_do() {
    let cluster = Cluster::start("rights").await;
    cluster.install_all();
    cluster.web();
    cluster.binding("first");
    let uid = cluster.kubectl(&[
        "-n",
        "shop",
        "get",
        "targetgroupbinding",
        "first",
        "-o",
        "jsonpath={.metadata.uid}",
    ]);
    let pod = cluster.gated();
    let rules = rules(&cluster);
    assert!(rules.len() > 10, "the shipped roles were read");
    for (round, rule) in rules.iter().enumerate() {
        cluster.slice("web-1", &["10.0.0.1", "10.0.0.22"]);
        // As on the first day: the agent makes it.
        cluster.kubectl(&[
            "-n",
            "elbow-system",
            "delete",
            "lease",
            "elbow-agent",
            "--ignore-not-found",
        ]);
        cluster.apply(&rule.rest.to_string());
        cluster.wait_until_may(rule, false).await;

        let told = cluster.service.told();
        let (hellos, before) = (told.hellos.len(), told.statements.len());
        let mut agent = cluster.agent(&format!("pod-{round}")).await;
        let round = u32::try_from(round).unwrap();
        cluster
            .provoke(&agent, (&uid, &pod), round, hellos, before, &rule.words())
            .await;
        // A kind that cannot be seen is a condition of the cluster.
        if rule.verb == "watch" {
            let resource = rule.resource.clone();
            cluster
                .service
                .until("unsynced", |told| {
                    told.statements[before..].iter().any(
                        |statement| matches!(statement, Statement::Unsynced { reason, .. } if reason.contains(&resource)),
                    )
                })
                .await;
        }
        agent.stop(Duration::from_secs(15)).await.unwrap();
        cluster.apply(&rule.whole.to_string());
        cluster.wait_until_may(rule, true).await;
    }
    // Nothing was missed but what was taken away.
    assert!(cluster.service.told().mirror.sources.contains_key(&shop("first")));
    cluster.stop().await;
}
