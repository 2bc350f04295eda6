//! What there is of the AWS Load Balancer Controller ("LBC") beside the objects: webhooks that it left behind, and the
//! Lease by which it is known to be alive. A missing right is a missing hint and nothing else.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
    },
    coordination::v1::Lease,
};
use kube::{Api, Client, api::ListParams};
use model::ownership::{Pulse, Surroundings, Webhook, WebhookKind};
use runtime::Clock;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::engine::Finding;

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(15);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The Lease of LBC's leader election; its namespace is wherever LBC was installed.
const LBC_LEASE: &str = "aws-load-balancer-controller-leader";
/// What the names of LBC's webhooks end with.
const LBC_WEBHOOKS: &str = ".elbv2.k8s.aws";
/// A Lease that was not renewed for so long has no living holder. LBC renews every few seconds.
const EXPIRED: Duration = Duration::from_secs(45);

/// Looks around, while this replica is the active one.
pub struct Lookout {
    pub client: Client,
    pub clock: Clock,
    pub active: watch::Receiver<bool>,
    pub findings: mpsc::Sender<Finding>,
}

impl Lookout {
    /// Runs until the soft stop.
    pub async fn run(mut self, soft: CancellationToken) {
        let mut leases = Leases::default();
        loop {
            let look = async {
                self.active.wait_for(|active| *active).await.ok()?;
                let surroundings = Surroundings {
                    webhooks: self.webhooks().await,
                    lbc: self.pulse(&mut leases).await,
                };
                self.findings
                    .send(Finding::Surroundings(surroundings))
                    .await
                    .ok()?;
                sleep(PERIOD).await;
                Some(())
            };
            if soft.run_until_cancelled(look).await.flatten().is_none() {
                return;
            }
        }
    }

    async fn webhooks(&self) -> Option<Vec<Webhook>> {
        let all = ListParams::default();
        let validating = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
        let validating = timeout(CALL_TIMEOUT, validating.list(&all)).await.ok()?.ok()?;
        let mutating = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let mutating = timeout(CALL_TIMEOUT, mutating.list(&all)).await.ok()?.ok()?;
        let validating = validating.items.into_iter().filter(|configuration| {
            configuration.webhooks.iter().flatten().any(|webhook| {
                is_in_the_way(
                    &webhook.name,
                    webhook.failure_policy.as_deref(),
                    webhook.rules.as_deref(),
                )
            })
        });
        let mutating = mutating.items.into_iter().filter(|configuration| {
            configuration.webhooks.iter().flatten().any(|webhook| {
                is_in_the_way(
                    &webhook.name,
                    webhook.failure_policy.as_deref(),
                    webhook.rules.as_deref(),
                )
            })
        });
        let of = |kind| move |name: Option<String>| Some(Webhook { kind, name: name? });
        let mut found: Vec<_> = validating
            .map(|configuration| configuration.metadata.name)
            .filter_map(of(WebhookKind::Validating))
            .collect();
        found.extend(
            mutating
                .map(|configuration| configuration.metadata.name)
                .filter_map(of(WebhookKind::Mutating)),
        );
        found.sort_unstable();
        Some(found)
    }

    async fn pulse(&self, leases: &mut Leases) -> Option<Pulse> {
        let named = ListParams::default().fields(&format!("metadata.name={LBC_LEASE}"));
        let api = Api::<Lease>::all(self.client.clone());
        let found = timeout(CALL_TIMEOUT, api.list(&named)).await.ok()?.ok()?;
        leases.pulse(&found.items, self.clock.instant())
    }
}

/// Whether a webhook of LBC's fails the writes of TargetGroupBindings when nobody answers it. The default is to fail.
fn is_in_the_way(name: &str, failure_policy: Option<&str>, rules: Option<&[RuleWithOperations]>) -> bool {
    let named = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|word| word == "*" || word == wanted)
    };
    name.ends_with(LBC_WEBHOOKS)
        && failure_policy.is_none_or(|policy| policy == "Fail")
        && rules.into_iter().flatten().any(|rule| {
            named(&rule.api_groups, "elbv2.k8s.aws") && named(&rule.resources, "targetgroupbindings")
        })
}

/// The Leases as they were seen to change, by our own clock: the holders' clocks need not agree.
#[derive(Debug, Default)]
struct Leases(BTreeMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    version: Option<String>,
    at: Instant,
    renewed: bool,
}

impl Leases {
    /// `None`: a Lease was seen whose holder may be alive or not; the next looks will tell.
    fn pulse(&mut self, found: &[Lease], now: Instant) -> Option<Pulse> {
        let mut undecided = false;
        for lease in found {
            let holder = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.as_deref());
            let Some(holder) = holder.filter(|holder| !holder.is_empty()) else {
                continue;
            };
            let namespace = lease.metadata.namespace.as_deref().unwrap_or_default();
            let name = format!("{namespace}/{LBC_LEASE}");
            let version = &lease.metadata.resource_version;
            let seen = self.0.entry(name.clone()).or_insert_with(|| Seen {
                version: version.clone(),
                at: now,
                renewed: false,
            });
            if seen.version != *version {
                *seen = Seen {
                    version: version.clone(),
                    at: now,
                    renewed: true,
                };
            }
            if now.duration_since(seen.at) >= EXPIRED {
                continue;
            }
            if seen.renewed {
                return Some(Pulse::Beats {
                    lease: name,
                    holder: holder.to_owned(),
                });
            }
            undecided = true;
        }
        (!undecided).then_some(Pulse::None)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

    fn lease(holder: &str, version: u32) -> Lease {
        Lease {
            metadata: ObjectMeta {
                namespace: Some("kube-system".to_owned()),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_lease_that_is_renewed_has_a_living_holder_and_one_that_is_not_has_none() {
        let mut leases = Leases::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(leases.pulse(&[], start), Some(Pulse::None));
        assert_eq!(
            leases.pulse(&[lease("lbc-1", 1)], at(15)),
            None,
            "one look cannot tell"
        );
        let beats = leases.pulse(&[lease("lbc-1", 2)], at(30));
        let expected = Pulse::Beats {
            lease: format!("kube-system/{LBC_LEASE}"),
            holder: "lbc-1".to_owned(),
        };
        assert_eq!(beats, Some(expected.clone()));
        assert_eq!(
            leases.pulse(&[lease("lbc-1", 2)], at(60)),
            Some(expected),
            "late once"
        );
        assert_eq!(leases.pulse(&[lease("lbc-1", 2)], at(75)), Some(Pulse::None));
        assert_eq!(
            leases.pulse(&[lease("", 3)], at(90)),
            Some(Pulse::None),
            "given up"
        );
    }

    #[test]
    fn a_lease_that_was_dead_before_us_is_found_dead() {
        let mut leases = Leases::default();
        let start = Instant::now();
        assert_eq!(leases.pulse(&[lease("lbc-1", 1)], start), None);
        assert_eq!(
            leases.pulse(&[lease("lbc-1", 1)], start + EXPIRED),
            Some(Pulse::None)
        );
    }

    #[test]
    fn a_webhook_is_in_the_way_if_it_is_of_lbc_and_fails_closed() {
        let rule = |group: &str| RuleWithOperations {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec!["targetgroupbindings".to_owned()]),
            ..RuleWithOperations::default()
        };
        let ours = [rule("elbv2.k8s.aws")];
        let name = "vtargetgroupbinding.elbv2.k8s.aws";
        assert!(is_in_the_way(name, Some("Fail"), Some(&ours)));
        assert!(is_in_the_way(name, None, Some(&ours)), "the default is to fail");
        assert!(!is_in_the_way(name, Some("Ignore"), Some(&ours)));
        assert!(!is_in_the_way("policy.example.com", Some("Fail"), Some(&ours)));
        assert!(!is_in_the_way(
            "vingress.elbv2.k8s.aws",
            None,
            Some(&[rule("networking.k8s.io")])
        ));
    }
}
