//! Security-group rules and network interfaces against the simulator.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws::{Aws, Certainty, ErrorClass, Metrics, RuleOutcome, ShardClient};
use awssim::{Drift, Fault, FaultRule, Fixture, JournalFilter, Place as Home, Running, Simulator};
use model::{
    Observed, SecurityGroupId, TargetId,
    binding::Peer,
    condition::Reason,
    fact::Protocol,
    network::{
        INSTALLATION_TAG, Interfaces, ObservedRule, Permission, Place, PortRange, SecurityGroupRuleId,
    },
};
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::support::{arn, later, now, settings};

const NODES: &str = "sg-0a0a0a0a0a0a0a0a0";
const EXTRA: &str = "sg-0b0b0b0b0b0b0b0b0";
const EDGE: &str = "sg-0e0e0e0e0e0e0e0e0";
const VPC: &str = "vpc-0a1b2c3d";
const INSTALLATION: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

struct World {
    simulator: Running,
    client: ShardClient,
}

impl World {
    /// One instance with its own interface and a second one that has a prefix and two groups.
    async fn new() -> Self {
        let simulator = Simulator::builder().start_local().await.unwrap();
        let place = home();
        let fixture: Fixture = serde_json::from_value(json!({
            "account": place.account,
            "region": place.region,
            "vpcs": [{"id": VPC, "cidrs": ["10.0.0.0/16"]}],
            "subnets": [{"id": "subnet-a", "vpc": VPC, "cidr": "10.0.0.0/18", "zone": "cn-north-1a"}],
            "security_groups": [
                {"id": NODES, "name": "nodes", "vpc": VPC, "tags": {"kubernetes.io/cluster/alpha": "owned"}},
                {"id": EXTRA, "name": "extra", "vpc": VPC},
                {"id": EDGE, "name": "edge", "vpc": VPC},
            ],
            "instances": [
                {"id": "i-0123456789abcdef0", "subnet": "subnet-a", "address": "10.0.0.10", "security_groups": [NODES]},
            ],
            "network_interfaces": [
                {"id": "eni-0b", "subnet": "subnet-a", "addresses": ["10.0.0.11"], "prefixes": ["10.0.1.0/28"],
                    "security_groups": [NODES, EXTRA], "instance": "i-0123456789abcdef0"},
                {"id": "eni-0c", "subnet": "subnet-a", "addresses": ["10.0.0.12", "fd00::12"], "security_groups": [EXTRA]},
            ],
        }))
        .unwrap();
        simulator.handle().load(&fixture).unwrap();
        let metrics = Metrics::new(&mut Registry::default());
        let aws = Aws::new(settings(simulator.url()), metrics, Arc::new(now))
            .await
            .unwrap();
        Self {
            client: aws.shard(arn().shard()),
            simulator,
        }
    }

    async fn find(&self, places: &[&Place]) -> Interfaces {
        let places = places.iter().map(|place| (*place).clone()).collect();
        self.client.interfaces(&places).await
    }

    fn calls(&self, action: &str) -> usize {
        let filter = JournalFilter {
            action: Some(action.into()),
            ..JournalFilter::default()
        };
        self.simulator.handle().journal(&filter).entries.len()
    }

    async fn authorize(&self, permissions: &[Permission]) -> Vec<RuleOutcome> {
        let tags = BTreeMap::from([
            ("kubernetes.io/cluster/alpha".to_owned(), "owned".to_owned()),
            (INSTALLATION_TAG.to_owned(), INSTALLATION.to_owned()),
        ]);
        let lines: Vec<_> = permissions
            .iter()
            .map(|permission| (permission.clone(), "Elbow: shop/web".to_owned()))
            .collect();
        let permit = self.client.rule_permit(&nodes()).await;
        self.client
            .authorize(permit, &nodes(), &lines, &tags, later())
            .await
    }

    async fn revoke(&self, rules: &[(Permission, SecurityGroupRuleId)]) -> Vec<RuleOutcome> {
        let permit = self.client.rule_permit(&nodes()).await;
        self.client.revoke(permit, &nodes(), rules, later()).await
    }

    async fn rules(&self) -> Vec<ObservedRule> {
        match self.client.rules(&nodes()).await.unwrap() {
            Observed::Present { value, .. } => value,
            other => panic!("{other:?}"),
        }
    }

    fn by_hand(&self, port: u16) {
        let place = home();
        self.simulator
            .handle()
            .drift(&Drift::AuthorizeRule {
                account: place.account,
                region: place.region,
                security_group_id: NODES.into(),
                protocol: "tcp".into(),
                from_port: port,
                to_port: port,
                peer: EDGE.into(),
            })
            .unwrap();
    }
}

fn home() -> Home {
    Home::new("111122223333", "cn-north-1")
}

fn nodes() -> SecurityGroupId {
    NODES.parse().unwrap()
}

fn address(text: &str, host: Option<&str>) -> Place {
    Place {
        vpc: VPC.parse().unwrap(),
        target: TargetId::Ip(text.parse().unwrap()),
        host: host.map(str::to_owned),
    }
}

fn port(port: u16) -> Permission {
    Permission {
        protocol: Protocol::Tcp,
        peer: Peer::SecurityGroup(EDGE.parse().unwrap()),
        ports: PortRange::single(port),
    }
}

fn from(block: &str) -> Permission {
    Permission {
        protocol: Protocol::Udp,
        peer: Peer::Cidr(block.parse().unwrap()),
        ports: PortRange::ALL,
    }
}

fn groups(found: &Interfaces, place: &Place) -> Vec<String> {
    let interface = found.found[place].as_ref().unwrap();
    interface
        .groups
        .iter()
        .map(|group| group.id.to_string())
        .collect()
}

#[tokio::test]
async fn an_interface_is_found_by_instance_address_and_prefix_and_remembered() {
    let world = World::new().await;
    let host = Some("i-0123456789abcdef0");
    let own = Place {
        vpc: VPC.parse().unwrap(),
        target: TargetId::Named("i-0123456789abcdef0".into()),
        host: None,
    };
    let (pod, other, v6) = (
        address("10.0.1.5", host),
        address("10.0.0.12", None),
        address("fd00::12", None),
    );
    let found = world.find(&[&own, &pod, &other]).await;
    assert_eq!(found.problem, None);
    assert_eq!(
        groups(&found, &own),
        [NODES],
        "of an instance the primary one counts"
    );
    assert_eq!(groups(&found, &pod), [NODES, EXTRA]);
    assert_eq!(groups(&found, &other), [EXTRA]);
    let chosen = &found.found[&pod].as_ref().unwrap().groups[0];
    assert_eq!(chosen.tags["kubernetes.io/cluster/alpha"], "owned");

    let asked = world.calls("DescribeNetworkInterfaces");
    let more = address("10.0.1.6", host);
    let found = world.find(&[&own, &pod, &other, &v6, &more]).await;
    assert_eq!(groups(&found, &more), [NODES, EXTRA]);
    assert_eq!(groups(&found, &v6), [EXTRA]);
    assert_eq!(
        world.calls("DescribeNetworkInterfaces"),
        asked,
        "one more pod on a known interface costs no call"
    );
    assert_eq!(world.calls("DescribeSecurityGroups"), 1);
}

#[tokio::test]
async fn an_ipv6_address_alone_is_found() {
    let world = World::new().await;
    let place = address("fd00::12", None);
    assert_eq!(groups(&world.find(&[&place]).await, &place), [EXTRA]);
}

#[tokio::test]
async fn what_has_no_interface_is_told_apart_from_what_could_not_be_asked() {
    let world = World::new().await;
    let nobody = address("10.0.9.9", None);
    let found = world.find(&[&nobody]).await;
    assert_eq!((found.found[&nobody].clone(), found.problem), (None, None));
    let asked = world.calls("DescribeNetworkInterfaces");
    world.find(&[&nobody]).await;
    assert_eq!(
        world.calls("DescribeNetworkInterfaces"),
        asked,
        "believed for a while"
    );

    let denied = FaultRule::on("DescribeNetworkInterfaces", Fault::AccessDenied);
    world.simulator.handle().add_fault(denied);
    let somebody = address("10.0.0.12", None);
    let found = world.find(&[&nobody, &somebody]).await;
    assert!(found.found.contains_key(&nobody) && !found.found.contains_key(&somebody));
    let problem = found.problem.unwrap();
    assert_eq!(problem.reason, Reason::AccessDenied);
    assert!(
        problem.message.contains("ec2:DescribeNetworkInterfaces"),
        "{problem}"
    );
}

#[tokio::test]
async fn rules_come_with_tags_and_are_ended_by_their_ids_alone() {
    let world = World::new().await;
    world.by_hand(22);
    let wanted = [port(80), from("192.0.2.0/24"), from("2001:db8::/32")];
    let made = world.authorize(&wanted).await;
    let made: Vec<_> = made
        .into_iter()
        .map(|outcome| (outcome.permission, outcome.result.unwrap().0))
        .collect();
    assert_eq!(
        made.iter().map(|(permission, _)| permission).collect::<Vec<_>>(),
        wanted.iter().collect::<Vec<_>>()
    );

    let rules = world.rules().await;
    let ours: BTreeSet<_> = rules
        .iter()
        .filter(|rule| rule.installation == Some(INSTALLATION.parse().unwrap()))
        .map(|rule| (rule.permission.clone().unwrap(), rule.id.clone()))
        .collect();
    assert_eq!(ours, made.iter().cloned().collect());
    let raw = world
        .simulator
        .handle()
        .security_group_rules(&home(), NODES)
        .unwrap();
    let web = raw.iter().find(|rule| rule.ports == Some((80, 80))).unwrap();
    assert_eq!(web.tags["kubernetes.io/cluster/alpha"], "owned");
    assert_eq!(web.description.as_deref(), Some("Elbow: shop/web"));

    let ended = world.revoke(&made).await;
    assert!(ended.iter().all(|outcome| outcome.result.is_ok()), "{ended:?}");
    let left: Vec<_> = world
        .rules()
        .await
        .into_iter()
        .map(|rule| rule.permission)
        .collect();
    assert_eq!(left, [Some(port(22))], "the rule that somebody made is as it was");
}

#[tokio::test]
async fn a_rule_that_aws_refuses_does_not_keep_out_the_others_of_its_call() {
    let world = World::new().await;
    world.by_hand(81);
    let outcomes = world.authorize(&[port(80), port(81), port(82)]).await;
    let refused: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| Some((&outcome.permission, outcome.result.as_ref().err()?)))
        .collect();
    let [(permission, failure)] = refused[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(*permission, port(81));
    assert_eq!(
        (failure.class, failure.certainty),
        (ErrorClass::PartlyDone, Certainty::NotApplied)
    );
    assert_eq!(world.rules().await.len(), 3);
}

#[tokio::test]
async fn a_full_group_and_a_missing_one_are_told_in_their_own_words() {
    let world = World::new().await;
    world
        .simulator
        .handle()
        .update_settings(|settings| settings.quotas.rules_per_security_group = 1);
    let outcomes = world.authorize(&[port(80), port(81)]).await;
    let full = outcomes
        .into_iter()
        .find_map(|outcome| outcome.result.err())
        .unwrap();
    assert_eq!(full.problem().reason, Reason::QuotaExceeded);

    let missing: SecurityGroupId = "sg-0f0f0f0f0f0f0f0f0".parse().unwrap();
    let permit = world.client.rule_permit(&missing).await;
    let lines = [(port(80), String::new())];
    let outcomes = world
        .client
        .authorize(permit, &missing, &lines, &BTreeMap::new(), later())
        .await;
    let failure = outcomes[0].result.as_ref().unwrap_err();
    assert_eq!(failure.problem().reason, Reason::SecurityGroupNotFound);
}

#[tokio::test]
async fn a_lost_answer_is_ambiguous_and_a_rule_that_has_gone_is_not() {
    let world = World::new().await;
    let lost = Fault::AppliedThenTimeout { hold: None };
    let rule = FaultRule::on("AuthorizeSecurityGroupIngress", lost).times(1);
    world.simulator.handle().add_fault(rule);
    let outcomes = world.authorize(&[port(80)]).await;
    let failure = outcomes[0].result.as_ref().unwrap_err();
    assert_eq!(failure.certainty, Certainty::Ambiguous);
    assert_eq!(world.rules().await.len(), 1, "it was made all the same");

    let gone = (port(9), "sgr-0123456789abcdef0".parse().unwrap());
    let outcomes = world.revoke(&[gone]).await;
    assert!(outcomes[0].result.is_ok(), "what has gone need not be ended");
}
