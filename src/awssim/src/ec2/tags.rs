//! Tags of EC2 resources, by resource id.

use std::sync::Arc;

use super::model::Tags;
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Region},
    xml::Xml,
};

pub(super) fn create(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let tags: Tags = params
        .list("Tag")
        .into_iter()
        .map(|tag| {
            Ok((
                tag.required("Key")?.to_owned(),
                tag.text("Value").unwrap_or_default().to_owned(),
            ))
        })
        .collect::<Result<_, AwsError>>()?;
    let ids = ids(change.region, params)?;
    for id in ids {
        of_mut(change.region, id)?.extend(tags.clone());
    }
    Ok(returned())
}

pub(super) fn delete(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let ids = ids(change.region, params)?;
    let asked = params.list("Tag");
    for id in ids {
        let tags = of_mut(change.region, id)?;
        if asked.is_empty() {
            tags.clear();
        }
        for tag in &asked {
            let (key, value) = (tag.required("Key")?, tag.text("Value"));
            if value.is_none_or(|value| tags.get(key).is_some_and(|present| present == value)) {
                tags.remove(key);
            }
        }
    }
    Ok(returned())
}

fn returned() -> Xml {
    let mut xml = Xml::new();
    xml.text("return", true);
    xml
}

/// The resources of the request, all of which must be there.
fn ids<'a>(region: &mut Region, params: &Node<'a>) -> Result<Vec<&'a str>, AwsError> {
    let ids = params.texts("ResourceId");
    if ids.is_empty() {
        return Err(AwsError::missing("resourceIdSet"));
    }
    for id in &ids {
        of_mut(region, id)?;
    }
    Ok(ids)
}

fn of_mut<'a>(region: &'a mut Region, id: &str) -> Result<&'a mut Tags, AwsError> {
    let prefix = id.split_once('-').map_or("", |(prefix, _)| prefix);
    let (tags, code) = match prefix {
        "vpc" => (
            region.vpcs.get_mut(id).map(|it| &mut Arc::make_mut(it).tags),
            "InvalidVpcID.NotFound",
        ),
        "subnet" => (
            region.subnets.get_mut(id).map(|it| &mut Arc::make_mut(it).tags),
            "InvalidSubnetID.NotFound",
        ),
        "sg" => (
            region
                .security_groups
                .get_mut(id)
                .map(|it| &mut Arc::make_mut(it).tags),
            "InvalidGroup.NotFound",
        ),
        "sgr" => {
            let group = region
                .security_groups
                .values_mut()
                .find(|group| group.rules.contains_key(id));
            let rule = group.and_then(|group| Arc::make_mut(group).rules.get_mut(id));
            (
                rule.map(|rule| &mut rule.tags),
                "InvalidSecurityGroupRuleId.NotFound",
            )
        }
        "i" => (
            region.instances.get_mut(id).map(|it| &mut Arc::make_mut(it).tags),
            "InvalidInstanceID.NotFound",
        ),
        "eni" => (
            region
                .interfaces
                .get_mut(id)
                .map(|it| &mut Arc::make_mut(it).tags),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        _ => (None, "InvalidID"),
    };
    tags.ok_or_else(|| AwsError::new(code, format!("The ID '{id}' does not exist")))
}

/// The tags of a resource; none of one that is not there.
pub(crate) fn of<'a>(region: &'a Region, id: &str) -> Option<&'a Tags> {
    let of_rule = || {
        let groups = &mut region.security_groups.values();
        groups
            .find_map(|group| group.rules.get(id))
            .map(|rule| &rule.tags)
    };
    match id.split_once('-')?.0 {
        "vpc" => region.vpcs.get(id).map(|it| &it.tags),
        "subnet" => region.subnets.get(id).map(|it| &it.tags),
        "sg" => region.security_groups.get(id).map(|it| &it.tags),
        "sgr" => of_rule(),
        "i" => region.instances.get(id).map(|it| &it.tags),
        "eni" => region.interfaces.get(id).map(|it| &it.tags),
        _ => None,
    }
}

/// The tags that a `TagSpecification` gives to a new resource of this type.
pub(super) fn specified(params: &Node<'_>, resource_type: &str) -> Tags {
    params
        .list("TagSpecification")
        .into_iter()
        .filter(|spec| spec.text("ResourceType") == Some(resource_type))
        .flat_map(|spec| spec.list("Tag"))
        .filter_map(|tag| {
            Some((
                tag.text("Key")?.to_owned(),
                tag.text("Value").unwrap_or_default().to_owned(),
            ))
        })
        .collect()
}

pub(super) fn write(xml: &mut Xml, tags: &Tags) {
    xml.list("tagSet", "item", tags, |xml, (key, value)| {
        xml.text("key", key);
        xml.text("value", value);
    });
}
