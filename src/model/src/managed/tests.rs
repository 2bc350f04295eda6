use serde_json::{Value, json};

use super::*;
use crate::condition::{Problem, Reason};

fn written(change: impl FnOnce(&mut Value)) -> Result<ManagedSpec, Problem> {
    let mut text = json!({
        "account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "name": "web",
        "targetType": "ip", "protocol": "HTTP", "port": 80,
        "healthCheck": {"path": "/healthz", "intervalSeconds": 10, "timeoutSeconds": 5, "matcher": "200-299,302"},
        "attributes": {"deregistrationDelaySeconds": 30, "other": {"load_balancing.cross_zone.enabled": "off"}},
        "tags": {"team": "shop"},
    });
    change(&mut text);
    let settings: Settings = serde_json::from_value(text).expect("it has the form");
    settings.try_into()
}

#[test]
fn what_is_left_out_is_not_stated() {
    let spec = written(|_| ()).unwrap();
    let stated: Vec<_> = spec
        .stated()
        .into_iter()
        .map(|(setting, value)| format!("{setting}={value}"))
        .collect();
    assert_eq!(
        stated,
        [
            "healthCheck.path=/healthz",
            "healthCheck.intervalSeconds=10",
            "healthCheck.timeoutSeconds=5",
            "healthCheck.matcher=200-299,302",
            "attributes.deregistration_delay.timeout_seconds=30",
            "attributes.load_balancing.cross_zone.enabled=off",
            "tags.team=shop",
        ]
    );
    assert!(spec.deletion_protection && spec.drift == DriftPolicy::Report);
    let again: ManagedSpec = serde_json::from_value(serde_json::to_value(&spec).unwrap()).unwrap();
    assert_eq!(again, spec);
    for setting in spec.stated().into_keys() {
        assert_eq!(setting.to_string().parse(), Ok(setting));
    }
}

#[test]
fn what_aws_would_refuse_is_told_with_the_field_and_the_way_out() {
    for (pointer, value, field, told) in [
        ("/name", json!("-web"), "name", "1 to 32"),
        ("/name", json!("w".repeat(33)), "name", "1 to 32"),
        ("/name", json!("we_b"), "name", "letters, digits"),
        ("/targetType", json!("lambda"), "targetType", "`ip` or `instance`"),
        ("/port", json!(0), "port", "1 to 65535"),
        (
            "/healthCheck/intervalSeconds",
            json!(4),
            "healthCheck.intervalSeconds",
            "5 to 300",
        ),
        (
            "/healthCheck/timeoutSeconds",
            json!(10),
            "healthCheck.timeoutSeconds",
            "less than",
        ),
        (
            "/healthCheck/healthyThreshold",
            json!(11),
            "healthCheck.healthyThreshold",
            "2 to 10",
        ),
        (
            "/healthCheck/unhealthyThreshold",
            json!(1),
            "healthCheck.unhealthyThreshold",
            "2 to 10",
        ),
        (
            "/healthCheck/path",
            json!("healthz"),
            "healthCheck.path",
            "begins with `/`",
        ),
        (
            "/healthCheck/port",
            json!("0"),
            "healthCheck.port",
            "traffic-port",
        ),
        (
            "/healthCheck/protocol",
            json!("TCP"),
            "healthCheck.protocol",
            "HTTP, HTTPS",
        ),
        (
            "/healthCheck/matcher",
            json!("OK"),
            "healthCheck.matcher",
            "`200`",
        ),
        (
            "/healthCheck/matcher",
            json!("299-200"),
            "healthCheck.matcher",
            "`200`",
        ),
        (
            "/attributes/deregistrationDelaySeconds",
            json!(3601),
            "attributes.deregistrationDelaySeconds",
            "0 to 3600",
        ),
        (
            "/attributes/slowStartSeconds",
            json!(5),
            "attributes.slowStartSeconds",
            "30 to 900",
        ),
        (
            "/attributes/other",
            json!({"stickiness.enabled": "true"}),
            "attributes.other.stickiness.enabled",
            "attributes.stickiness",
        ),
        ("/tags", json!({"aws:x": "1"}), "tags.aws:x", "choose another"),
        (
            "/tags",
            json!({"elbow/installation": "1"}),
            "tags.elbow/installation",
            "choose another",
        ),
        ("/tags", json!({"k": "v".repeat(257)}), "tags.k", "256"),
    ] {
        let problem = written(|text| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            text.pointer_mut(parent).unwrap()[key] = value.clone();
        })
        .expect_err(pointer);
        assert_eq!(problem.field, Some(format!("spec.managed.{field}")));
        assert!(problem.message.contains(told), "{problem}");
    }
    let many: serde_json::Map<_, _> = (0..49).map(|n| (format!("k{n}"), json!("v"))).collect();
    let problem = written(|text| text["tags"] = many.into()).unwrap_err();
    assert!(problem.message.contains("at most 48"), "{problem}");
}

#[test]
fn a_group_of_a_network_load_balancer_is_checked_as_its_protocol_allows() {
    let network = |check: Value| {
        written(|text| {
            text["protocol"] = json!("TCP_UDP");
            text["healthCheck"] = check;
        })
    };
    assert!(network(json!({})).is_ok());
    assert!(network(json!({"protocol": "HTTP", "path": "/", "matcher": "200-599"})).is_ok());
    for check in [
        json!({"path": "/"}),
        json!({"matcher": "200"}),
        json!({"protocol": "UDP"}),
    ] {
        assert!(network(check.clone()).is_err(), "{check}");
    }
    let version = written(|text| {
        text["protocol"] = json!("TLS");
        text["healthCheck"] = json!({});
        text["protocolVersion"] = json!("HTTP2");
    });
    assert!(version.unwrap_err().message.contains("leave it out"));
    // Application load balancers take fewer codes than network load balancers.
    let wide = written(|text| text["healthCheck"] = json!({"matcher": "200-500"}));
    assert!(wide.unwrap_err().message.contains("`200-499`"));
    let grpc = written(|text| {
        text["protocolVersion"] = json!("GRPC");
        text["healthCheck"] = json!({"path": "/a.B/check", "matcher": "0-99"});
    });
    assert!(grpc.is_ok());
}

#[test]
fn what_aws_cannot_change_is_refused_and_the_rest_is_not() {
    let spec = written(|_| ()).unwrap();
    for (key, value) in [
        ("name", json!("other")),
        ("region", json!("us-east-1")),
        ("account", json!("210987654321")),
        ("vpcId", json!("vpc-0a1b2c3e")),
        ("targetType", json!("instance")),
        ("protocol", json!("HTTPS")),
        ("protocolVersion", json!("HTTP2")),
        ("port", json!(81)),
        ("ipAddressType", json!("ipv6")),
    ] {
        let other = written(|text| text[key] = value).unwrap();
        let problem = spec.refuses(&other).expect(key);
        assert_eq!(
            (problem.reason, problem.field),
            (Reason::ImmutableField, Some(format!("spec.managed.{key}")))
        );
        assert!(problem.message.contains("by another name"), "{}", problem.message);
    }
    let other = written(|text| {
        text["protocolVersion"] = json!("HTTP1");
        text["healthCheck"] = json!({});
        text["attributes"] = json!({});
        text["tags"] = json!({});
        text["deletionProtection"] = json!(false);
    });
    assert_eq!(spec.refuses(&other.unwrap()), None);
}
