//! The definition of TargetGroupBinding, as the API server takes it.

use crate::support::{Cluster, bindings};

/// Tries an object of the definition, and says what the API server answers to it.
struct Definition<'a>(&'a Cluster);

impl Definition<'_> {
    fn apply(&self, name: &str, spec: &str) -> Result<(), String> {
        let file = self.0.scratch.path().join("tried.yaml");
        let yaml = format!(
            "{{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
        );
        std::fs::write(&file, yaml).unwrap();
        let answer = self
            .0
            .plane
            .kubectl(["apply", "-f", file.to_str().unwrap()])
            .unwrap();
        if answer.status.success() {
            Ok(())
        } else {
            Err(answer.stderr)
        }
    }

    fn allows(&self, name: &str, fields: &str) {
        let spec = format!("{{serviceRef: {{name: web, port: http}}, {fields}}}");
        self.apply(name, &spec)
            .unwrap_or_else(|refusal| panic!("{spec} must be allowed: {refusal}"));
    }

    fn refuses(&self, name: &str, fields: &str, words: &str) {
        let spec = format!("{{serviceRef: {{name: web, port: http}}, {fields}}}");
        let refusal = self.apply(name, &spec).unwrap_err();
        assert!(refusal.contains(words), "{spec}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "a table of what is refused and what is allowed"
)]
async fn the_definition_refuses_what_can_be_known_to_be_wrong_and_nothing_else() {
    let cluster = Cluster::start("definition").await;
    cluster.install_all();
    let definition = Definition(&cluster);
    let refusal = definition.apply("a", "{targetGroupName: a}").unwrap_err();
    assert!(refusal.contains("serviceRef"), "{refusal}");

    // Each rule about the shape: what it refuses, and the nearest that it allows.
    let peer =
        |from: &str| format!("targetGroupName: a, networking: {{ingress: [{{ports: [], from: [{from}]}}]}}");
    let (block, group) = ("ipBlock: {cidr: 10.0.0.0/8}", "securityGroup: {groupID: sg-1}");
    let shapes: [(&str, String, String); 11] = [
        (
            "give targetGroupARN or targetGroupName",
            "multiClusterTargetGroup: true".into(),
            "targetGroupName: a".into(),
        ),
        (
            "give targetGroupARN or targetGroupName",
            "targetGroupName: ''".into(),
            "targetGroupARN: 'arn:1'".into(),
        ),
        (
            "from",
            peer(&format!("{{{block}, {group}}}")),
            peer(&format!("{{{block}}}, {{{group}}}")),
        ),
        ("from", peer("{}"), peer(&format!("{{{group}}}"))),
        (
            "ports",
            format!("targetGroupName: a, networking: {{ingress: [{{from: [{{{block}}}]}}]}}"),
            format!(
                "targetGroupName: a, networking: {{ingress: [{{from: [{{{block}}}], ports: [{{protocol: UDP, port: 53}}]}}]}}"
            ),
        ),
        (
            "targetType",
            "targetGroupName: a, targetType: lambda".into(),
            "targetGroupName: a, targetType: instance".into(),
        ),
        (
            "targetGroupProtocol",
            "targetGroupName: a, targetGroupProtocol: GENEVE".into(),
            "targetGroupName: a, targetGroupProtocol: TCP_UDP".into(),
        ),
        (
            "vpcID",
            "targetGroupName: a, vpcID: vpc-1".into(),
            "targetGroupName: a, vpcID: vpc-0123abcd".into(),
        ),
        (
            "nodeSelector is for targetType instance",
            "targetGroupName: a, targetType: ip, nodeSelector: {}".into(),
            "targetGroupName: a, targetType: instance, nodeSelector: {}".into(),
        ),
        (
            "iamRoleArnToAssume is for targetType ip",
            "targetGroupName: a, targetType: instance, iamRoleArnToAssume: 'arn:1'".into(),
            "targetGroupName: a, targetType: ip, iamRoleArnToAssume: 'arn:1'".into(),
        ),
        (
            "QUIC and TCP_QUIC are for targetType ip",
            "targetGroupName: a, targetType: instance, targetGroupProtocol: QUIC".into(),
            "targetGroupName: a, targetType: ip, targetGroupProtocol: QUIC".into(),
        ),
    ];
    for (number, (words, refused, allowed)) in shapes.iter().enumerate() {
        let name = format!("shape-{number}");
        definition.refuses(&name, refused, words);
        definition.allows(&name, allowed);
    }

    // What cannot change, once it is set: from nothing to a value is allowed.
    for (name, set, other, words) in [
        (
            "arn",
            "targetGroupARN: 'arn:1'",
            "targetGroupARN: 'arn:2'",
            "targetGroupARN cannot change",
        ),
        (
            "type",
            "targetType: ip",
            "targetType: instance",
            "targetType cannot change",
        ),
        (
            "family",
            "ipAddressType: ipv4",
            "ipAddressType: ipv6",
            "ipAddressType cannot change",
        ),
        (
            "vpc",
            "vpcID: vpc-0123abcd",
            "vpcID: vpc-4567abcd",
            "vpcID cannot change",
        ),
    ] {
        definition.allows(name, "targetGroupName: a");
        definition.allows(name, &format!("targetGroupName: a, {set}"));
        definition.refuses(name, &format!("targetGroupName: a, {other}"), words);
        definition.allows(
            name,
            &format!("targetGroupName: b, {set}, multiClusterTargetGroup: true"),
        );
    }
    for (name, set, words) in [
        ("arn", "targetGroupARN", "targetGroupARN cannot change"),
        ("type", "targetType", "targetType cannot change"),
        ("vpc", "vpcID", "vpcID cannot change"),
    ] {
        definition.refuses(name, "targetGroupName: b", words);
        let object = bindings(cluster.client().await).get(name).await.unwrap();
        assert!(object.data["spec"][set].is_string(), "{set} is as it was");
    }
    // An address type that is unset is ipv4, and cannot become ipv6.
    definition.allows("unset", "targetGroupName: a");
    definition.refuses(
        "unset",
        "targetGroupName: a, ipAddressType: ipv6",
        "ipAddressType cannot change",
    );
    // What may change.
    let free = "targetGroupName: a, targetType: instance";
    definition.allows("free", free);
    definition.allows(
        "free",
        &format!("{free}, nodeSelector: {{matchLabels: {{a: b}}}}, networking: {{ingress: []}}"),
    );
    cluster.stop().await;
}
