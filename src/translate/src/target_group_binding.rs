//! TargetGroupBinding, `elbv2.k8s.aws/v1beta1`
//! (<https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/spec/>).

use model::{
    Name, RoleArn, TargetGroupArn,
    account::AssumableRole,
    binding::{BindingSpec, PortRef},
    cluster::{ClusterSpec, VpcId},
    condition::{Problem, Reason},
    target::TargetType,
    target_group::IpAddressType,
};
use serde_json::Value;

use crate::{
    fields::{Fields, clip, invalid},
    networking::networking,
    node_selector::node_selector,
};

const PROTOCOLS: [&str; 8] = [
    "HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC",
];

/// Reads the `spec` of a TargetGroupBinding of a cluster.
///
/// `by_name` answers which declared target groups of the cluster's shard have a name in AWS.
pub fn target_group_binding(
    spec: &Value,
    cluster: &ClusterSpec,
    by_name: &dyn Fn(&str) -> Vec<TargetGroupArn>,
) -> Result<BindingSpec, Problem> {
    let mut warnings = Vec::new();
    let mut fields = Fields::of(spec, "spec")?;
    let target_group = target_group(&mut fields, cluster, by_name, &mut warnings)?;
    // Here every target is owned per binding and cluster, so that sharing needs no bookkeeping in the cluster. The field is
    // still the word that two bindings of one cluster mean to share.
    let shared = fields.boolean("multiClusterTargetGroup")?.unwrap_or(false);
    let target_type = match fields.word("targetType", &["ip", "instance"])? {
        Some("ip") => Some(TargetType::Ip),
        Some(_) => Some(TargetType::Instance),
        None => None,
    };
    let protocol = fields.word("targetGroupProtocol", &PROTOCOLS)?;
    let quic = matches!(protocol, Some("QUIC" | "TCP_QUIC"));
    if quic && target_type == Some(TargetType::Instance) {
        let message = "QUIC cannot be used with target type `instance`: use `ip`, or another protocol";
        return Err(invalid(fields.at("targetGroupProtocol"), message));
    }
    let (service, port) = service_ref(&mut fields, &mut warnings)?;
    let networking = match fields.get("networking") {
        Some(value) => networking(value, fields.at("networking"), &mut warnings)?,
        None => Vec::new(),
    };
    let node_selector = match fields.get("nodeSelector") {
        Some(_) if target_type == Some(TargetType::Ip) => {
            let message = "it selects nodes and is for target type `instance` alone: remove it";
            return Err(invalid(fields.at("nodeSelector"), message));
        }
        Some(value) => Some(node_selector(value, fields.at("nodeSelector"), &mut warnings)?),
        None => None,
    };
    let role = role(&mut fields, target_type)?;
    in_reach(&target_group, role.as_ref(), cluster, &fields)?;
    let ip_address_type = fields
        .word("ipAddressType", &["ipv4", "ipv6"])?
        .map(|word| match word {
            "ipv6" => IpAddressType::Ipv6,
            _ => IpAddressType::Ipv4,
        });
    let vpc_id = fields.parsed::<VpcId>("vpcID")?.map(|vpc| vpc.to_string());
    fields.finish(&mut warnings);
    let protocol = protocol.map(str::to_owned);
    let spec = BindingSpec {
        target_group,
        service,
        port,
        target_type,
        ip_address_type,
        vpc_id,
        protocol,
        networking,
        node_selector,
        shared,
        role,
        warnings,
    };
    Ok(spec)
}

/// The ARN, which wins, or the name.
fn target_group(
    fields: &mut Fields<'_>,
    cluster: &ClusterSpec,
    by_name: &dyn Fn(&str) -> Vec<TargetGroupArn>,
    warnings: &mut Vec<String>,
) -> Result<TargetGroupArn, Problem> {
    let name = fields.text("targetGroupName")?;
    let Some(arn) = fields.parsed::<TargetGroupArn>("targetGroupARN")? else {
        let name =
            name.ok_or_else(|| invalid(fields.at("targetGroupARN"), "set it, or spec.targetGroupName"))?;
        return named(by_name(name), name, cluster, fields.at("targetGroupName"));
    };
    if name.is_some_and(|name| name != arn.name()) {
        warnings.push(format!(
            "{}: it differs from the name in spec.targetGroupARN, which wins",
            fields.at("targetGroupName")
        ));
    }
    Ok(arn)
}

fn named(
    found: Vec<TargetGroupArn>,
    name: &str,
    cluster: &ClusterSpec,
    path: String,
) -> Result<TargetGroupArn, Problem> {
    let mut found: Vec<_> = found
        .into_iter()
        .filter(|arn| *arn.shard() == cluster.shard())
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(arn), true) => Ok(arn),
        (Some(_), false) => {
            let message = format!(
                "several declared target groups are named `{}`: set spec.targetGroupARN",
                clip(name)
            );
            Err(invalid(path, message))
        }
        (None, _) => {
            let message = format!(
                "no declared target group of {} is named `{}`: declare it with PUT /v1/target-groups/NAME, or correct the name",
                cluster.shard(),
                clip(name)
            );
            Err(Problem::at(Reason::TargetGroupNotDeclared, path, message))
        }
    }
}

fn service_ref(fields: &mut Fields<'_>, warnings: &mut Vec<String>) -> Result<(String, PortRef), Problem> {
    let value = fields.required("serviceRef")?;
    let mut service = Fields::of(value, fields.at("serviceRef"))?;
    let name: Name = service.parsed("name")?.ok_or_else(|| service.missing("name"))?;
    let port = service.port("port")?.ok_or_else(|| service.missing("port"))?;
    service.finish(warnings);
    Ok((name.to_string(), port))
}

/// The role by which a group of another account is reached.
fn role(fields: &mut Fields<'_>, target_type: Option<TargetType>) -> Result<Option<AssumableRole>, Problem> {
    let arn = fields.parsed::<RoleArn>("iamRoleArnToAssume")?;
    let external_id = fields.text("assumeRoleExternalId")?;
    let (path, given) = match (&arn, external_id) {
        (None, None) => return Ok(None),
        (Some(_), _) => (fields.at("iamRoleArnToAssume"), "a role"),
        (None, Some(_)) => (fields.at("assumeRoleExternalId"), "an external id"),
    };
    if target_type == Some(TargetType::Instance) {
        return Err(invalid(
            path,
            format!("{given} cannot be used with target type `instance`: remove it, or use `ip`"),
        ));
    }
    let Some(arn) = arn else {
        let message = "it is for a role: set spec.iamRoleArnToAssume, or remove it";
        return Err(invalid(path, message));
    };
    let external_id = external_id.map(str::to_owned);
    Ok(Some(AssumableRole { arn, external_id }))
}

/// The cluster's own account and region, or an account that it may enter by the role.
fn in_reach(
    target_group: &TargetGroupArn,
    role: Option<&AssumableRole>,
    cluster: &ClusterSpec,
    fields: &Fields<'_>,
) -> Result<(), Problem> {
    if let Some(role) = role
        && !cluster.roles.contains(role)
    {
        let message = "the cluster may not use this role and external id: have an admin add them to the cluster's \
                       spec.roles, or correct them";
        return Err(Problem::at(
            Reason::RoleNotAllowed,
            fields.at("iamRoleArnToAssume"),
            message,
        ));
    }
    let (theirs, own) = (target_group.shard(), cluster.shard());
    let by_role = role.is_some_and(|role| *role.arn.account() == theirs.account)
        && theirs.partition == own.partition
        && theirs.region == own.region;
    if *theirs == own || by_role {
        return Ok(());
    }
    let message = format!(
        "the target group is in {theirs} and the cluster is in {own}: bind a target group of the cluster's own account and \
         region, or one of the region with spec.iamRoleArnToAssume",
    );
    Err(Problem::at(
        Reason::WrongShard,
        fields.at("targetGroupARN"),
        message,
    ))
}
