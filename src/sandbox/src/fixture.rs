//! The AWS that the tutorial starts from: somebody made a VPC, an ALB, two target groups and two listeners by
//! hand.

use awssim::{Fixture, Handle};
use serde_json::json;

use crate::{Error, Result, kubernetes::Node};

/// The account of the tutorial.
pub const ACCOUNT: &str = "123456789012";
/// Its region.
pub const REGION: &str = "cn-north-1";
/// Its availability zones.
pub const ZONES: [&str; 2] = ["cn-north-1a", "cn-north-1b"];
/// The VPC that cluster and load balancer share.
pub const VPC: &str = "vpc-0e1b0e1b0e1b0e1b0";
/// The security group of the ALB.
pub const ALB_SECURITY_GROUP: &str = "sg-0a1b0a1b0a1b0a1b0";
/// The security group of the first cluster's machines.
pub const NODE_SECURITY_GROUP: &str = "sg-0b1b0b1b0b1b0b1b0";
/// The security group of the second cluster's machines.
pub const SECOND_NODE_SECURITY_GROUP: &str = "sg-0b2b0b2b0b2b0b2b0";
/// Elbow's access key in the account. Whoever else asks AWS uses the account's number as the key and may do everything.
pub const ACCESS_KEY: &str = "AKIASANDBOX000000001";

/// What was made: the ARNs to refer to.
#[derive(Clone, Debug)]
pub struct Tutorial {
    /// Target group `test-tg-ip`.
    pub target_group: String,
    /// Target group `test-tg-instance`.
    pub instance_target_group: String,
    /// The ALB `test-alb`, which forwards port 28080 to the first and 38080 to the second.
    pub load_balancer: String,
}

impl Tutorial {
    /// The tutorial's binding in ip mode with these ids.
    pub fn ip_binding(&self) -> String {
        include_str!("../../../tests/seed/tgb-alb-ip.yaml")
            .replace("<TG_IP_ARN>", &self.target_group)
            .replace("<ALB_SG_ID>", ALB_SECURITY_GROUP)
    }

    /// The tutorial's binding in instance mode.
    pub fn instance_binding(&self) -> String {
        include_str!("../../../tests/seed/tgb-alb-instance.yaml")
            .replace("<TG_INSTANCE_ARN>", &self.instance_target_group)
            .replace("<ALB_SG_ID>", ALB_SECURITY_GROUP)
    }
}

/// The name in a target group's ARN (`…:targetgroup/NAME/ID`).
pub fn name(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or(arn)
}

/// Makes the tutorial's AWS.
pub fn tutorial(aws: &Handle) -> Result<Tutorial> {
    let subnets: Vec<_> = ZONES
        .iter()
        .enumerate()
        .map(|(index, zone)| {
            json!({"id": format!("subnet-0{index:016}"), "vpc": VPC, "cidr": format!("192.168.{}.0/18", index * 64), "zone": zone})
        })
        .collect();
    let ids: Vec<_> = subnets.iter().map(|subnet| subnet["id"].clone()).collect();
    let fixture = json!({
        "account": ACCOUNT,
        "region": REGION,
        "vpcs": [{"id": VPC, "cidrs": ["192.168.0.0/16"]}],
        "subnets": subnets,
        "security_groups": [{"id": ALB_SECURITY_GROUP, "name": "alb", "vpc": VPC}],
        "target_groups": [
            {"name": "test-tg-ip", "vpc": VPC, "port": 80, "target_type": "ip"},
            {"name": "test-tg-instance", "vpc": VPC, "port": 30001, "target_type": "instance"},
        ],
        "load_balancers": [{
            "name": "test-alb",
            "subnets": ids,
            "security_groups": [ALB_SECURITY_GROUP],
            "listeners": [
                {"port": 28080, "protocol": "HTTP", "forward": ["test-tg-ip"]},
                {"port": 38080, "protocol": "HTTP", "forward": ["test-tg-instance"]},
            ],
        }],
    });
    let fixture: Fixture = serde_json::from_value(fixture).map_err(|error| Error::Aws(error.to_string()))?;
    aws.set_account(ACCESS_KEY, ACCOUNT);
    let made = aws
        .load(&fixture)
        .map_err(|error| Error::Aws(error.to_string()))?;
    let arn = |arns: &std::collections::BTreeMap<String, String>, name: &str| {
        arns.get(name)
            .cloned()
            .ok_or_else(|| Error::Aws(format!("`{name}` was not made")))
    };
    Ok(Tutorial {
        target_group: arn(&made.target_groups, "test-tg-ip")?,
        instance_target_group: arn(&made.target_groups, "test-tg-instance")?,
        load_balancer: arn(&made.load_balancers, "test-alb")?,
    })
}

/// The machines of a cluster in the tutorial's VPC: an instance for each node, with an interface that has the addresses
/// of its pods, in this security group, which is tagged as the cluster's.
pub fn machines(aws: &Handle, cluster: &str, security_group: &str, nodes: &[Node]) -> Result<()> {
    let subnet = |node: &Node| {
        let index = ZONES.iter().position(|zone| *zone == node.zone).unwrap_or(0);
        format!("subnet-0{index:016}")
    };
    let instances: Vec<_> = nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.instance_id,
                "subnet": subnet(node),
                "address": node.internal_ip,
                "security_groups": [security_group],
            })
        })
        .collect();
    let interfaces: Vec<_> = nodes
        .iter()
        .map(|node| {
            let addresses = node
                .pod_cidr
                .hosts()
                .filter(|address| *address != node.internal_ip);
            json!({
                "id": node.instance_id.replacen("i-", "eni-", 1),
                "subnet": subnet(node),
                "addresses": addresses.collect::<Vec<_>>(),
                "security_groups": [security_group],
                "instance": node.instance_id,
            })
        })
        .collect();
    let fixture = json!({
        "account": ACCOUNT,
        "region": REGION,
        "security_groups": [{
            "id": security_group,
            "name": format!("{cluster}-nodes"),
            "vpc": VPC,
            "tags": { format!("kubernetes.io/cluster/{cluster}"): "owned" },
        }],
        "instances": instances,
        "network_interfaces": interfaces,
    });
    let fixture: Fixture = serde_json::from_value(fixture).map_err(|error| Error::Aws(error.to_string()))?;
    aws.load(&fixture)
        .map(drop)
        .map_err(|error| Error::Aws(error.to_string()))
}
