//! Each field of the TargetGroupBinding spec: what is taken, and what is said about what is not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use model::{
    TargetGroupArn,
    account::AssumableRole,
    binding::{BindingSpec, OpenPort, Peer, PortRef},
    cluster::ClusterSpec,
    condition::{Problem, Reason},
    fact::Protocol,
    target::TargetType,
    target_group::IpAddressType,
};
use serde_json::{Value, json};
use translate::target_group_binding;

const ARN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";
const TWIN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/2ce5b7da835c9ffb";
const ROLE: &str = "arn:aws:iam::210987654321:role/elbow";
const OTHERS: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:210987654321:targetgroup/web/1ce5b7da835c9ffb";
const ELSEWHERE: &str =
    "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";

fn cluster() -> ClusterSpec {
    let spec =
        json!({"account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "mode": "full"});
    serde_json::from_value(spec).unwrap()
}

fn declared(name: &str) -> Vec<TargetGroupArn> {
    match name {
        "web" => vec![ARN.parse().unwrap()],
        "twins" => vec![ARN.parse().unwrap(), TWIN.parse().unwrap()],
        "elsewhere" => vec![ELSEWHERE.parse().unwrap()],
        _ => Vec::new(),
    }
}

fn read(spec: &Value) -> Result<BindingSpec, Problem> {
    target_group_binding(spec, &cluster(), &declared)
}

/// A minimal valid spec with `changes` put over it.
fn with(changes: Value) -> Value {
    let mut spec = json!({"targetGroupARN": ARN, "serviceRef": {"name": "web", "port": 80}});
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    spec.as_object_mut().unwrap().extend(changes);
    spec
}

#[expect(clippy::needless_pass_by_value, reason = "called with json! literals")]
fn ingress(rule: Value) -> Value {
    with(json!({"networking": {"ingress": [rule]}}))
}

#[test]
fn every_field_is_read() {
    let spec = json!({
        "targetGroupARN": ARN,
        "targetGroupName": "web",
        "multiClusterTargetGroup": true,
        "targetType": "ip",
        "targetGroupProtocol": "HTTP",
        "serviceRef": {"name": "shop", "port": "http"},
        "networking": {"ingress": [{
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"securityGroup": {"groupID": "sg-0123456789abcdef0"}}],
            "ports": [{"protocol": "UDP", "port": 53}, {"port": "metrics"}, {}],
        }]},
        "ipAddressType": "ipv6",
        "vpcID": "vpc-0a1b2c3d",
    });
    let spec = read(&spec).unwrap();
    assert_eq!(spec.warnings, Vec::<String>::new());
    assert_eq!(spec.target_group.to_string(), ARN);
    assert_eq!(
        (spec.service.as_str(), &spec.port),
        ("shop", &PortRef::Name("http".into()))
    );
    assert_eq!(spec.target_type, Some(TargetType::Ip));
    assert_eq!(spec.ip_address_type, Some(IpAddressType::Ipv6));
    assert_eq!(spec.protocol.as_deref(), Some("HTTP"));
    assert_eq!(spec.vpc_id.as_deref(), Some("vpc-0a1b2c3d"));
    let [rule] = &spec.networking[..] else {
        panic!("one rule: {:?}", spec.networking)
    };
    assert_eq!(
        rule.from,
        [
            Peer::Cidr("10.0.0.0/8".parse().unwrap()),
            Peer::SecurityGroup("sg-0123456789abcdef0".parse().unwrap())
        ]
    );
    assert_eq!(
        rule.ports,
        [
            OpenPort {
                protocol: Protocol::Udp,
                port: Some(PortRef::Number(53))
            },
            OpenPort {
                protocol: Protocol::Tcp,
                port: Some(PortRef::Name("metrics".into()))
            },
            OpenPort {
                protocol: Protocol::Tcp,
                port: None
            },
        ]
    );
}

#[test]
fn what_is_not_said_is_none() {
    let spec = read(&with(json!({"vpcID": "", "networking": null}))).unwrap();
    assert_eq!(
        (spec.target_type, spec.ip_address_type, spec.vpc_id, spec.protocol),
        (None, None, None, None)
    );
    assert_eq!((spec.networking.len(), spec.warnings.len()), (0, 0));
    assert_eq!(spec.port, PortRef::Number(80));
}

#[test]
fn a_name_is_resolved_among_the_declared_groups_of_the_shard() {
    let named =
        |name: &str| read(&json!({"targetGroupName": name, "serviceRef": {"name": "web", "port": 80}}));
    assert_eq!(named("web").unwrap().target_group.to_string(), ARN);
    assert_eq!(named("none").unwrap_err().reason, Reason::TargetGroupNotDeclared);
    assert_eq!(
        named("elsewhere").unwrap_err().reason,
        Reason::TargetGroupNotDeclared
    );
    let twins = named("twins").unwrap_err();
    assert_eq!(
        (twins.reason, twins.field.as_deref()),
        (Reason::Invalid, Some("spec.targetGroupName"))
    );
}

#[test]
fn the_arn_wins_over_the_name() {
    let translated = read(&with(json!({"targetGroupName": "other"}))).unwrap();
    assert_eq!(translated.target_group.to_string(), ARN);
    assert!(
        translated.warnings[0].starts_with("spec.targetGroupName: "),
        "{:?}",
        translated.warnings
    );
}

#[test]
fn unknown_fields_are_ignored_with_their_paths() {
    let spec = with(json!({
        "targetTyp": "ip",
        "serviceRef": {"name": "web", "port": 80, "prot": 1},
        "networking": {"ingress": [{"from": [{"ipBlock": {"cidr": "::/0", "except": []}}], "ports": [{"x": 1}]}]},
    }));
    let warnings = read(&spec).unwrap().warnings;
    let paths: Vec<_> = warnings
        .iter()
        .map(|warning| warning.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "spec.serviceRef.prot",
            "spec.networking.ingress[0].from[0].ipBlock.except",
            "spec.networking.ingress[0].ports[0].x",
            "spec.targetTyp",
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line per mistake")]
fn a_mistake_is_told_with_its_field_and_the_way_out() {
    let peer = |from: Value| ingress(json!({"from": from, "ports": [{}]}));
    let cases = [
        (json!([]), "spec", "expected an object and found a list"),
        (
            json!({"serviceRef": {"name": "web", "port": 80}}),
            "spec.targetGroupARN",
            "set it, or spec.targetGroupName",
        ),
        (
            with(json!({"targetGroupARN": "arn:aws:s3:::x"})),
            "spec.targetGroupARN",
            "not a valid target group ARN",
        ),
        (
            with(json!({"targetGroupARN": 1})),
            "spec.targetGroupARN",
            "expected text and found a number",
        ),
        (
            with(json!({"targetType": "lambda"})),
            "spec.targetType",
            "none of ip, instance",
        ),
        (
            with(json!({"targetGroupProtocol": "http"})),
            "spec.targetGroupProtocol",
            "none of HTTP, HTTPS",
        ),
        (
            with(json!({"targetGroupProtocol": "QUIC", "targetType": "instance"})),
            "spec.targetGroupProtocol",
            "QUIC cannot be used with target type `instance`",
        ),
        (
            with(json!({"multiClusterTargetGroup": "yes"})),
            "spec.multiClusterTargetGroup",
            "expected `true` or `false`",
        ),
        (with(json!({"serviceRef": null})), "spec.serviceRef", "required"),
        (
            with(json!({"serviceRef": {"port": 80}})),
            "spec.serviceRef.name",
            "required",
        ),
        (
            with(json!({"serviceRef": {"name": "a/b", "port": 80}})),
            "spec.serviceRef.name",
            "not a valid name",
        ),
        (
            with(json!({"serviceRef": {"name": "web"}})),
            "spec.serviceRef.port",
            "required",
        ),
        (
            with(json!({"serviceRef": {"name": "web", "port": 0}})),
            "spec.serviceRef.port",
            "1-65535",
        ),
        (
            with(json!({"serviceRef": {"name": "web", "port": 65536}})),
            "spec.serviceRef.port",
            "1-65535",
        ),
        (
            with(json!({"serviceRef": {"name": "web", "port": -1}})),
            "spec.serviceRef.port",
            "`-1`",
        ),
        (
            with(json!({"serviceRef": {"name": "web", "port": 80.5}})),
            "spec.serviceRef.port",
            "1-65535",
        ),
        (
            with(json!({"serviceRef": {"name": "web", "port": true}})),
            "spec.serviceRef.port",
            "found a boolean",
        ),
        (
            with(json!({"nodeSelector": {}, "targetType": "ip"})),
            "spec.nodeSelector",
            "`instance` alone",
        ),
        (
            with(json!({"nodeSelector": {"matchLabels": {"pool": 1}}})),
            "spec.nodeSelector.matchLabels.pool",
            "expected text",
        ),
        (
            with(json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}})),
            "spec.nodeSelector.matchExpressions[0].values",
            "list them",
        ),
        (
            with(
                json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}),
            ),
            "spec.nodeSelector.matchExpressions[0].operator",
            "`Gt`",
        ),
        (
            with(json!({"iamRoleArnToAssume": ROLE, "targetType": "instance"})),
            "spec.iamRoleArnToAssume",
            "cannot be used with target type `instance`",
        ),
        (
            with(json!({"iamRoleArnToAssume": "arn:aws:iam::1:role/x"})),
            "spec.iamRoleArnToAssume",
            "not a valid role ARN",
        ),
        (
            with(json!({"assumeRoleExternalId": "x"})),
            "spec.assumeRoleExternalId",
            "set spec.iamRoleArnToAssume",
        ),
        (
            with(json!({"ipAddressType": "dualstack"})),
            "spec.ipAddressType",
            "none of ipv4, ipv6",
        ),
        (
            with(json!({"vpcID": "vpc-1"})),
            "spec.vpcID",
            "not a valid VPC id",
        ),
        (
            with(json!({"networking": []})),
            "spec.networking",
            "expected an object",
        ),
        (
            with(json!({"networking": {"ingress": {}}})),
            "spec.networking.ingress",
            "expected a list",
        ),
        (
            ingress(json!({"ports": [{}]})),
            "spec.networking.ingress[0].from",
            "required",
        ),
        (
            ingress(json!({"from": [], "ports": [{}]})),
            "spec.networking.ingress[0].from",
            "opens nothing",
        ),
        (
            peer(json!([{}])),
            "spec.networking.ingress[0].from[0]",
            "names no peer",
        ),
        (
            peer(json!([{"ipBlock": {"cidr": "10.0.0.0/8"}, "securityGroup": {"groupID": "sg-12345678"}}])),
            "spec.networking.ingress[0].from[0]",
            "names two peers",
        ),
        (
            peer(json!([{"ipBlock": {}}])),
            "spec.networking.ingress[0].from[0].ipBlock.cidr",
            "required",
        ),
        (
            peer(json!([{"ipBlock": {"cidr": "10.0.0.1"}}])),
            "spec.networking.ingress[0].from[0].ipBlock.cidr",
            "no CIDR",
        ),
        (
            peer(json!([{"ipBlock": {"cidr": "10.0.0.1/8"}}])),
            "spec.networking.ingress[0].from[0].ipBlock.cidr",
            "write `10.0.0.0/8`",
        ),
        (
            peer(json!([{"securityGroup": {"groupID": "default"}}])),
            "spec.networking.ingress[0].from[0].securityGroup.groupID",
            "use its id",
        ),
        (
            ingress(json!({"from": [{"ipBlock": {"cidr": "::/0"}}]})),
            "spec.networking.ingress[0].ports",
            "required",
        ),
        (
            ingress(json!({"from": [{"ipBlock": {"cidr": "::/0"}}], "ports": []})),
            "spec.networking.ingress[0].ports",
            "opens nothing",
        ),
        (
            ingress(json!({"from": [{"ipBlock": {"cidr": "::/0"}}], "ports": [{"protocol": "SCTP"}]})),
            "spec.networking.ingress[0].ports[0].protocol",
            "none of TCP, UDP",
        ),
    ];
    for (spec, field, message) in &cases {
        let problem = read(spec).expect_err(field);
        assert_eq!(problem.field.as_deref(), Some(*field), "{spec}: {problem}");
        assert!(problem.message.contains(message), "{spec}: {problem}");
        assert_eq!(problem.reason, Reason::Invalid, "{spec}: {problem}");
    }
}

#[test]
fn a_group_of_another_partition_account_or_region_is_refused() {
    for (from, to) in [
        ("eu-central-1", "us-east-1"),
        ("123456789012", "210987654321"),
        ("arn:aws:", "arn:aws-cn:"),
    ] {
        let problem = read(&with(json!({"targetGroupARN": ARN.replace(from, to)}))).unwrap_err();
        assert_eq!(
            (problem.reason, problem.field.as_deref()),
            (Reason::WrongShard, Some("spec.targetGroupARN"))
        );
    }
}

#[test]
fn a_hostile_text_does_not_fill_the_answer() {
    let long = "x".repeat(100_000);
    for spec in [
        with(json!({"targetGroupARN": long})),
        with(json!({"targetType": long})),
        with(json!({"serviceRef": {"name": long, "port": 80}})),
        json!({"targetGroupName": long, "serviceRef": {"name": "web", "port": 80}}),
    ] {
        let problem = read(&spec).unwrap_err();
        assert!(
            problem.to_string().len() < 500,
            "{} bytes",
            problem.to_string().len()
        );
    }
}

#[test]
fn a_group_of_another_account_is_reached_by_a_role_of_the_cluster_and_by_no_other() {
    let mut entered = cluster();
    entered.roles.push(AssumableRole {
        arn: ROLE.parse().unwrap(),
        external_id: Some("of-shop".into()),
    });
    let read = |changes: Value| target_group_binding(&with(changes), &entered, &declared);
    let spec = read(json!({
        "targetGroupARN": OTHERS, "iamRoleArnToAssume": ROLE, "assumeRoleExternalId": "of-shop",
    }))
    .unwrap();
    assert_eq!(spec.role.as_ref(), entered.roles.first());
    for (changes, reason) in [
        (
            json!({"targetGroupARN": OTHERS, "iamRoleArnToAssume": ROLE}),
            Reason::RoleNotAllowed,
        ),
        (
            json!({"targetGroupARN": OTHERS, "iamRoleArnToAssume": ROLE, "assumeRoleExternalId": "guessed"}),
            Reason::RoleNotAllowed,
        ),
        (
            json!({"iamRoleArnToAssume": "arn:aws:iam::123456789012:role/admin"}),
            Reason::RoleNotAllowed,
        ),
        (json!({"targetGroupARN": OTHERS}), Reason::WrongShard),
        (
            json!({
                "targetGroupARN": OTHERS.replace("eu-central-1", "us-east-1"), "iamRoleArnToAssume": ROLE,
                "assumeRoleExternalId": "of-shop",
            }),
            Reason::WrongShard,
        ),
    ] {
        let problem = read(changes.clone()).unwrap_err();
        assert_eq!(problem.reason, reason, "{changes}");
    }
}
