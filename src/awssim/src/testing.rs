//! A simulator without a network, on a clock that stands still: for unit tests.

use std::time::Duration;

use crate::{
    clock::{ClockMode, WallClock},
    core::{Call, Core, Decision, Ending},
    elbv2::model::{Kind, Protocol},
    fixture::{self, Fixture, ListenerFixture, LoadBalancerFixture, TargetGroupFixture},
    place::Place,
    query::Credential,
    service::Service,
    settings::Settings,
    throttle::Throttling,
};

pub(crate) struct Bench {
    pub(crate) core: Core,
    /// An ip group `web` on port 80 that no load balancer uses yet.
    pub(crate) group: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            throttling: Throttling::off(),
            ..Settings::default()
        };
        let mode = ClockMode::Manual { at: None };
        let mut core = Core::new(
            settings,
            WallClock::start(),
            &mode,
            "111122223333".to_owned(),
            Some(1),
        );
        let mut fixture = Fixture::network(Place::new("111122223333", "eu-central-1"));
        fixture
            .target_groups
            .push(TargetGroupFixture::ip("web", "vpc-1", 80));
        let mut loaded = fixture::load(&mut core, &fixture).expect("a good fixture");
        Self {
            core,
            group: loaded.target_groups.remove("web").expect("loaded"),
        }
    }

    /// Puts a load balancer with subnets in zones a and b in front of the group.
    pub(crate) fn put_to_use(&mut self) {
        let mut fixture = Fixture::empty(Place::new("111122223333", "eu-central-1"));
        fixture.load_balancers.push(LoadBalancerFixture {
            name: "front".to_owned(),
            kind: Kind::Application,
            internal: false,
            subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
            security_groups: Vec::new(),
            listeners: vec![ListenerFixture {
                port: 80,
                protocol: Protocol::Http,
                forward: vec!["web".to_owned()],
                certificate: None,
            }],
            tags: std::collections::BTreeMap::new(),
        });
        fixture::load(&mut self.core, &fixture).expect("a good fixture");
    }

    pub(crate) fn decide(&mut self, action: &str, fields: &[(&str, &str)]) -> Decision {
        let credential = Credential {
            access_key: "AKIA".to_owned(),
            region: "eu-central-1".to_owned(),
            service: Some(Service::Elbv2),
            signing_name: "elasticloadbalancing".to_owned(),
        };
        let mut form = vec![("Action".to_owned(), action.to_owned())];
        form.extend(
            fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let received = self.core.clock.now();
        self.core.handle(Call {
            credential: Some(credential),
            form,
            received,
        })
    }

    /// Status and body of the answer.
    pub(crate) fn call(&mut self, action: &str, fields: &[(&str, &str)]) -> (u16, String) {
        match self.decide(action, fields).ending {
            Ending::Answer { answer, .. } => (answer.status, answer.body),
            other => panic!("no answer but {other:?}"),
        }
    }

    pub(crate) fn targets(&mut self, action: &str, targets: &[(&str, &str)]) -> (u16, String) {
        let group = self.group.clone();
        let names: Vec<(String, String)> = (1..=targets.len())
            .map(|n| {
                (
                    format!("Targets.member.{n}.Id"),
                    format!("Targets.member.{n}.Port"),
                )
            })
            .collect();
        let mut fields = vec![("TargetGroupArn", group.as_str())];
        for ((id, port), target) in names.iter().zip(targets) {
            fields.extend([(id.as_str(), target.0), (port.as_str(), target.1)]);
        }
        self.call(action, &fields)
    }

    pub(crate) fn register(&mut self, targets: &[(&str, &str)]) {
        let (status, body) = self.targets("RegisterTargets", targets);
        assert_eq!(status, 200, "{body}");
    }

    /// `id:port state reason` of each target, as DescribeTargetHealth says.
    pub(crate) fn health(&mut self) -> Vec<String> {
        let group = self.group.clone();
        let (status, body) = self.call("DescribeTargetHealth", &[("TargetGroupArn", &group)]);
        assert_eq!(status, 200, "{body}");
        let text = |part: &str, tag: &str| {
            let inner = part.split_once(&format!("<{tag}>")).map_or("-", |(_, rest)| rest);
            inner.split('<').next().unwrap_or_default().to_owned()
        };
        let parts = body.split("<Target>").skip(1);
        parts
            .map(|part| {
                let [id, port, state, reason] = ["Id", "Port", "State", "Reason"].map(|tag| text(part, tag));
                format!("{id}:{port} {state} {reason}")
            })
            .collect()
    }

    pub(crate) fn advance(&mut self, seconds: f64) {
        self.core.clock.advance(Duration::from_secs_f64(seconds));
    }
}
