//! Seeding: the resources of one account and region from a document, so that a test starts with a small world.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    action::Action,
    core::Core,
    drift::TargetSpec,
    ec2::{
        self,
        model::{Instance, InstanceState, NetworkInterface, SecurityGroup, Subnet, Vpc},
    },
    elbv2::model::{Kind, Protocol, TargetType},
    handle::AdminError,
    place::Place,
    query::{Form, Node},
    service::Service,
    world::Change,
};

type Tags = BTreeMap<String, String>;

/// The world of one account and region. Load balancers and target groups are made as their API would make them, with
/// all of its checks; the network is taken as given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    pub account: String,
    pub region: String,
    #[serde(default)]
    pub vpcs: Vec<VpcFixture>,
    #[serde(default)]
    pub subnets: Vec<SubnetFixture>,
    #[serde(default)]
    pub security_groups: Vec<SecurityGroupFixture>,
    #[serde(default)]
    pub instances: Vec<InstanceFixture>,
    #[serde(default)]
    pub network_interfaces: Vec<NetworkInterfaceFixture>,
    #[serde(default)]
    pub target_groups: Vec<TargetGroupFixture>,
    #[serde(default)]
    pub load_balancers: Vec<LoadBalancerFixture>,
}

impl Fixture {
    pub fn empty(place: Place) -> Self {
        Self {
            account: place.account,
            region: place.region,
            vpcs: Vec::new(),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            instances: Vec::new(),
            network_interfaces: Vec::new(),
            target_groups: Vec::new(),
            load_balancers: Vec::new(),
        }
    }

    /// A VPC `vpc-1` of 10.0.0.0/16, a subnet per zone (`subnet-a`, `-b`, `-c`) and a security group `sg-1`.
    pub fn network(place: Place) -> Self {
        let cidr = |text: &str| text.parse().expect("a constant CIDR");
        let zones = place.zones();
        let subnet = |letter: &str, net: &str, zone: &String| SubnetFixture {
            id: format!("subnet-{letter}"),
            vpc: "vpc-1".to_owned(),
            cidr: cidr(net),
            zone: zone.clone(),
            tags: Tags::new(),
        };
        Self {
            vpcs: vec![VpcFixture {
                id: "vpc-1".to_owned(),
                cidrs: vec![cidr("10.0.0.0/16")],
                is_default: false,
                tags: Tags::new(),
            }],
            subnets: vec![
                subnet("a", "10.0.0.0/18", &zones[0]),
                subnet("b", "10.0.64.0/18", &zones[1]),
                subnet("c", "10.0.128.0/18", &zones[2]),
            ],
            security_groups: vec![SecurityGroupFixture {
                id: "sg-1".to_owned(),
                name: "nodes".to_owned(),
                description: "nodes".to_owned(),
                vpc: "vpc-1".to_owned(),
                tags: Tags::new(),
            }],
            ..Self::empty(place)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcFixture {
    pub id: String,
    pub cidrs: Vec<IpNet>,
    #[serde(default)]
    pub is_default: bool,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetFixture {
    pub id: String,
    pub vpc: String,
    pub cidr: IpNet,
    pub zone: String,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroupFixture {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub vpc: String,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceFixture {
    pub id: String,
    pub subnet: String,
    pub address: IpAddr,
    #[serde(default)]
    pub security_groups: Vec<String>,
    #[serde(default)]
    pub state: InstanceState,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkInterfaceFixture {
    pub id: String,
    pub subnet: String,
    pub addresses: Vec<IpAddr>,
    #[serde(default)]
    pub prefixes: Vec<IpNet>,
    #[serde(default)]
    pub security_groups: Vec<String>,
    #[serde(default)]
    pub instance: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroupFixture {
    pub name: String,
    pub vpc: String,
    pub port: u16,
    #[serde(default = "http")]
    pub protocol: Protocol,
    #[serde(default)]
    pub target_type: TargetType,
    /// The sixteen hexadecimal digits at the end of the ARN; drawn if not given.
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub targets: Vec<TargetSpec>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub tags: Tags,
}

impl TargetGroupFixture {
    /// An HTTP group of type `ip`.
    pub fn ip(name: &str, vpc: &str, port: u16) -> Self {
        Self {
            name: name.to_owned(),
            vpc: vpc.to_owned(),
            port,
            protocol: Protocol::Http,
            target_type: TargetType::Ip,
            id: None,
            targets: Vec::new(),
            attributes: BTreeMap::new(),
            tags: Tags::new(),
        }
    }
}

fn http() -> Protocol {
    Protocol::Http
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancerFixture {
    pub name: String,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub internal: bool,
    pub subnets: Vec<String>,
    #[serde(default)]
    pub security_groups: Vec<String>,
    #[serde(default)]
    pub listeners: Vec<ListenerFixture>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerFixture {
    pub port: u16,
    pub protocol: Protocol,
    /// The names of the target groups to forward to, each with weight 1.
    pub forward: Vec<String>,
    #[serde(default)]
    pub certificate: Option<String>,
}

/// The ARNs of what was made, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Loaded {
    pub target_groups: BTreeMap<String, String>,
    pub load_balancers: BTreeMap<String, String>,
}

pub(crate) fn load(core: &mut Core, fixture: &Fixture) -> Result<Loaded, AdminError> {
    let place = Place::new(&fixture.account, &fixture.region);
    let now = core.clock.now();
    // Works on a copy, so that a fixture with a mistake leaves nothing behind.
    let mut region = core.world.region(&place).as_ref().clone();
    let mut change = Change {
        region: &mut region,
        now,
        settings: &core.settings,
        ids: &mut core.ids,
    };
    load_network(&mut change, fixture)?;
    load_machines(&mut change, fixture)?;
    let mut loaded = Loaded::default();
    for group in &fixture.target_groups {
        let arn = load_target_group(&mut change, group)?;
        loaded.target_groups.insert(group.name.clone(), arn);
    }
    for load_balancer in &fixture.load_balancers {
        let arn = load_load_balancer(&mut change, load_balancer)?;
        loaded.load_balancers.insert(load_balancer.name.clone(), arn);
    }
    *core.world.region_mut(&place, now) = region;
    Ok(loaded)
}

fn load_network(change: &mut Change<'_>, fixture: &Fixture) -> Result<(), AdminError> {
    let refuse = |message: String| Err(AdminError::Fixture(message));
    for VpcFixture {
        id,
        cidrs,
        is_default,
        tags,
    } in &fixture.vpcs
    {
        if cidrs.is_empty() {
            return refuse(format!("VPC '{id}' needs a CIDR"));
        }
        let vpc = Vpc {
            id: id.clone(),
            cidrs: cidrs.clone(),
            is_default: *is_default,
            tags: tags.clone(),
        };
        change.region.vpcs.insert(id.clone(), Arc::new(vpc));
    }
    for SubnetFixture {
        id,
        vpc,
        cidr,
        zone,
        tags,
    } in &fixture.subnets
    {
        if !change.region.vpcs.contains_key(vpc) || !change.region.place.zones().contains(zone) {
            return refuse(format!("subnet '{id}' needs a VPC and a zone that exist"));
        }
        let subnet = Subnet {
            id: id.clone(),
            vpc: vpc.clone(),
            cidr: *cidr,
            zone: zone.clone(),
            tags: tags.clone(),
        };
        change.region.subnets.insert(id.clone(), Arc::new(subnet));
    }
    for SecurityGroupFixture {
        id,
        name,
        description,
        vpc,
        tags,
    } in &fixture.security_groups
    {
        if !change.region.vpcs.contains_key(vpc) {
            return refuse(format!("security group '{id}' needs a VPC that exists"));
        }
        let group = SecurityGroup {
            id: id.clone(),
            name: name.clone(),
            description: description.clone(),
            vpc: vpc.clone(),
            rules: ec2::rules::default_egress(change.ids),
            tags: tags.clone(),
        };
        change.region.security_groups.insert(id.clone(), Arc::new(group));
    }
    Ok(())
}

fn load_machines(change: &mut Change<'_>, fixture: &Fixture) -> Result<(), AdminError> {
    let refuse = |message: String| Err(AdminError::Fixture(message));
    for InstanceFixture {
        id,
        subnet,
        address,
        security_groups,
        state,
        tags,
    } in &fixture.instances
    {
        let Some(subnet) = change.region.subnets.get(subnet) else {
            return refuse(format!("instance '{id}' needs a subnet that exists"));
        };
        let instance = Instance {
            id: id.clone(),
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            zone: subnet.zone.clone(),
            address: *address,
            security_groups: security_groups.clone(),
            image: "ami-0123456789abcdef0".to_owned(),
            kind: "m5.large".to_owned(),
            state: *state,
            launched: change.now,
            tags: tags.clone(),
        };
        let interface = ec2::default_interface(change.ids.ec2("eni"), &instance);
        change
            .region
            .interfaces
            .insert(interface.id.clone(), Arc::new(interface));
        change.region.instances.insert(id.clone(), Arc::new(instance));
    }
    for each in &fixture.network_interfaces {
        let NetworkInterfaceFixture {
            id,
            subnet,
            addresses,
            prefixes,
            security_groups,
            instance,
            tags,
        } = each;
        let Some(subnet) = change.region.subnets.get(subnet) else {
            return refuse(format!("network interface '{id}' needs a subnet that exists"));
        };
        let interface = NetworkInterface {
            id: id.clone(),
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            zone: subnet.zone.clone(),
            addresses: addresses.clone(),
            prefixes: prefixes.clone(),
            security_groups: security_groups.clone(),
            instance: instance.clone(),
            description: String::new(),
            tags: tags.clone(),
        };
        change.region.interfaces.insert(id.clone(), Arc::new(interface));
    }
    Ok(())
}

fn load_target_group(change: &mut Change<'_>, fixture: &TargetGroupFixture) -> Result<String, AdminError> {
    let mut form = form([
        ("Name", fixture.name.clone()),
        ("VpcId", fixture.vpc.clone()),
        ("Port", fixture.port.to_string()),
        ("Protocol", fixture.protocol.as_str().to_owned()),
        ("TargetType", fixture.target_type.as_str().to_owned()),
    ]);
    form.extend(tag_fields(&fixture.tags));
    run(change, "CreateTargetGroup", &form)?;
    let made = change
        .region
        .target_groups
        .values()
        .find(|group| group.spec.name == fixture.name);
    let mut arn = made.expect("just created").arn.clone();
    if let Some(id) = &fixture.id {
        let group = change.region.target_groups.remove(&arn).expect("just created");
        let mut group = Arc::unwrap_or_clone(group);
        arn = change
            .region
            .place
            .elb_arn(format_args!("targetgroup/{}/{id}", fixture.name));
        group.arn.clone_from(&arn);
        change.region.target_groups.insert(arn.clone(), Arc::new(group));
    }
    if !fixture.attributes.is_empty() {
        let mut form = self::form([("TargetGroupArn", arn.clone())]);
        for (index, (key, value)) in fixture.attributes.iter().enumerate() {
            form.push((format!("Attributes.member.{}.Key", index + 1), key.clone()));
            form.push((format!("Attributes.member.{}.Value", index + 1), value.clone()));
        }
        run(change, "ModifyTargetGroupAttributes", &form)?;
    }
    for chunk in fixture.targets.chunks(change.settings.quotas.targets_per_call) {
        let mut form = self::form([("TargetGroupArn", arn.clone())]);
        for (index, target) in chunk.iter().enumerate() {
            let field = |name: &str| format!("Targets.member.{}.{name}", index + 1);
            form.push((field("Id"), target.id.clone()));
            form.extend(target.port.map(|port| (field("Port"), port.to_string())));
            form.extend(target.zone.clone().map(|zone| (field("AvailabilityZone"), zone)));
        }
        run(change, "RegisterTargets", &form)?;
    }
    Ok(arn)
}

fn load_load_balancer(change: &mut Change<'_>, fixture: &LoadBalancerFixture) -> Result<String, AdminError> {
    let mut form = form([
        ("Name", fixture.name.clone()),
        ("Type", fixture.kind.as_str().to_owned()),
        (
            "Scheme",
            if fixture.internal {
                "internal"
            } else {
                "internet-facing"
            }
            .to_owned(),
        ),
    ]);
    form.extend(numbered("Subnets", &fixture.subnets));
    form.extend(numbered("SecurityGroups", &fixture.security_groups));
    form.extend(tag_fields(&fixture.tags));
    run(change, "CreateLoadBalancer", &form)?;
    let made = change
        .region
        .load_balancers
        .values()
        .find(|each| each.spec.name == fixture.name);
    let arn = made.expect("just created").arn.clone();
    for listener in &fixture.listeners {
        let mut form = self::form([
            ("LoadBalancerArn", arn.clone()),
            ("Port", listener.port.to_string()),
            ("Protocol", listener.protocol.as_str().to_owned()),
            ("DefaultActions.member.1.Type", "forward".to_owned()),
        ]);
        let certificate = listener.certificate.clone();
        form.extend(certificate.map(|arn| ("Certificates.member.1.CertificateArn".to_owned(), arn)));
        for (index, name) in listener.forward.iter().enumerate() {
            let group = change
                .region
                .target_groups
                .values()
                .find(|group| group.spec.name == *name);
            let group = group.ok_or_else(|| AdminError::Unknown {
                kind: "target group",
                id: name.clone(),
            })?;
            let field = format!(
                "DefaultActions.member.1.ForwardConfig.TargetGroups.member.{}",
                index + 1
            );
            form.push((format!("{field}.TargetGroupArn"), group.arn.clone()));
        }
        run(change, "CreateListener", &form)?;
    }
    Ok(arn)
}

fn run(change: &mut Change<'_>, action: &str, form: &Form) -> Result<(), AdminError> {
    use crate::action::Run;
    let Some(Run::Write(write)) = Action::find(Service::Elbv2, action).map(|found| found.run) else {
        return Err(AdminError::Unknown {
            kind: "action",
            id: action.to_owned(),
        });
    };
    write(change, &Node::tree(form))
        .map(|_| ())
        .map_err(|error| AdminError::Fixture(error.message))
}

fn form<const N: usize>(fields: [(&str, String); N]) -> Form {
    fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn numbered<'a>(list: &'a str, values: &'a [String]) -> impl Iterator<Item = (String, String)> + 'a {
    values
        .iter()
        .zip(1..)
        .map(move |(value, number)| (format!("{list}.member.{number}"), value.clone()))
}

fn tag_fields(tags: &Tags) -> impl Iterator<Item = (String, String)> {
    tags.iter().zip(1..).flat_map(|((key, value), number)| {
        [
            (format!("Tags.member.{number}.Key"), key.clone()),
            (format!("Tags.member.{number}.Value"), value.clone()),
        ]
    })
}
