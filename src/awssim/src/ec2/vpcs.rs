//! VPCs.

use std::sync::Arc;

use ipnet::IpNet;

use super::{
    filters::Filters,
    model::{SecurityGroup, Tags, Vpc, parse},
    page, rules, tags,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Region, View},
    xml::Xml,
};

pub(super) fn create(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let cidr: IpNet = parse("cidrBlock", params.required("CidrBlock")?)?;
    if !(16..=28).contains(&cidr.prefix_len()) {
        return Err(AwsError::new(
            "InvalidVpc.Range",
            format!("The CIDR '{cidr}' is invalid."),
        ));
    }
    let tags = tags::specified(params, "vpc");
    let vpc = Vpc {
        id: change.ids.ec2("vpc"),
        cidrs: vec![cidr.trunc()],
        is_default: false,
        tags,
    };
    let mut xml = Xml::new();
    xml.within("vpc", |xml| write(xml, change.region, &vpc));
    let default_group = SecurityGroup {
        id: change.ids.ec2("sg"),
        name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        vpc: vpc.id.clone(),
        rules: rules::default_egress(change.ids),
        tags: Tags::new(),
    };
    change
        .region
        .security_groups
        .insert(default_group.id.clone(), Arc::new(default_group));
    change.region.vpcs.insert(vpc.id.clone(), Arc::new(vpc));
    Ok(xml)
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let ids = params.texts("VpcId");
    if let Some(id) = ids.iter().find(|id| !view.region.vpcs.contains_key(**id)) {
        return Err(not_found(id));
    }
    let known = [
        "vpc-id",
        "cidr",
        "cidr-block-association.cidr-block",
        "is-default",
        "isDefault",
        "state",
        "owner-id",
    ];
    let filters = Filters::read(params, &known)?;
    let wanted = view.region.vpcs.values().filter(|vpc| {
        (ids.is_empty() || ids.contains(&vpc.id.as_str()))
            && filters.matches(&vpc.tags, |field| match field {
                "vpc-id" => vec![vpc.id.clone()],
                "cidr" => vec![vpc.primary().to_string()],
                "cidr-block-association.cidr-block" => vpc.cidrs.iter().map(IpNet::to_string).collect(),
                "is-default" | "isDefault" => vec![vpc.is_default.to_string()],
                "state" => vec!["available".to_owned()],
                _ => vec![view.region.place.account.clone()],
            })
    });
    let (vpcs, next) = page(view, params, "Vpcs", wanted.map(|vpc| (vpc.id.as_str(), vpc)))?;
    let mut xml = Xml::new();
    xml.list("vpcSet", "item", vpcs, |xml, vpc| write(xml, view.region, vpc));
    xml.maybe("nextToken", next);
    Ok(xml)
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::new(
        "InvalidVpcID.NotFound",
        format!("The vpc ID '{id}' does not exist"),
    )
}

fn write(xml: &mut Xml, region: &Region, vpc: &Vpc) {
    xml.text("vpcId", &vpc.id);
    xml.text("ownerId", &region.place.account);
    xml.text("state", "available");
    xml.text("cidrBlock", vpc.primary());
    xml.text("dhcpOptionsId", "default");
    xml.text("instanceTenancy", "default");
    xml.text("isDefault", vpc.is_default);
    let of_family = |v6: bool| {
        vpc.cidrs
            .iter()
            .filter(move |cidr| matches!(cidr, IpNet::V6(_)) == v6)
    };
    xml.list(
        "cidrBlockAssociationSet",
        "item",
        of_family(false),
        |xml, cidr| {
            xml.text("associationId", association(&vpc.id, *cidr));
            xml.text("cidrBlock", cidr);
            xml.within("cidrBlockState", |xml| xml.text("state", "associated"));
        },
    );
    xml.list(
        "ipv6CidrBlockAssociationSet",
        "item",
        of_family(true),
        |xml, cidr| {
            xml.text("associationId", association(&vpc.id, *cidr));
            xml.text("ipv6CidrBlock", cidr);
            xml.within("ipv6CidrBlockState", |xml| xml.text("state", "associated"));
        },
    );
    tags::write(xml, &vpc.tags);
}

fn association(vpc: &str, cidr: IpNet) -> String {
    let digits: String = cidr
        .to_string()
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(char::from)
        .collect();
    format!("vpc-cidr-assoc-{}{digits}", vpc.trim_start_matches("vpc-"))
}
