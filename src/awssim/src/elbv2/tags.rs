//! Tags of target groups, load balancers and listeners.

use std::{collections::BTreeSet, sync::Arc};

use super::{checks, checks::Resource, model::Tags};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    settings::Settings,
    world::{Change, Region, View},
    xml::Xml,
};

/// The `Tags` of a request, checked.
pub(super) fn read(params: &Node<'_>, settings: &Settings) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for tag in params.list("Tags") {
        let (key, value) = (tag.required("Key")?, tag.text("Value").unwrap_or_default());
        if key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(AwsError::validation(format!(
                "Tag '{key}' is longer than 128 + 256 characters"
            )));
        }
        if key.starts_with("aws:") {
            return Err(AwsError::validation(format!(
                "Tag '{key}' uses the reserved prefix 'aws:'"
            )));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(AwsError::new(
                "DuplicateTagKeys",
                format!("Tag key '{key}' is given twice"),
            ));
        }
    }
    within_quota(tags.len(), settings)?;
    Ok(tags)
}

fn within_quota(count: usize, settings: &Settings) -> Result<(), AwsError> {
    let limit = settings.quotas.tags_per_resource;
    if count <= limit {
        return Ok(());
    }
    Err(AwsError::new(
        "TooManyTags",
        format!("A resource cannot have more than {limit} tags"),
    ))
}

pub(super) fn add(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let added = read(params, change.settings)?;
    if added.is_empty() {
        return Err(AwsError::missing("Tags"));
    }
    let arns = arns(params)?;
    for arn in &arns {
        let keys: BTreeSet<&String> = of(change.region, arn)?.keys().chain(added.keys()).collect();
        within_quota(keys.len(), change.settings)?;
    }
    for arn in arns {
        of_mut(change.region, arn)?.extend(added.clone());
    }
    Ok(Xml::new())
}

pub(super) fn remove(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arns = arns(params)?;
    for arn in &arns {
        of(change.region, arn)?;
    }
    for arn in arns {
        let tags = of_mut(change.region, arn)?;
        for key in params.texts("TagKeys") {
            tags.remove(key);
        }
    }
    Ok(Xml::new())
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let found: Vec<(&str, &Tags)> = arns(params)?
        .into_iter()
        .map(|arn| of(view.region, arn).map(|tags| (arn, tags)))
        .collect::<Result<_, _>>()?;
    let mut xml = Xml::new();
    xml.list("TagDescriptions", "member", found, |xml, (arn, tags)| {
        xml.text("ResourceArn", arn);
        xml.list("Tags", "member", tags, |xml, (key, value)| {
            xml.text("Key", key);
            xml.text("Value", value);
        });
    });
    Ok(xml)
}

fn arns<'a>(params: &Node<'a>) -> Result<Vec<&'a str>, AwsError> {
    let arns = params.texts("ResourceArns");
    match arns.len() {
        0 => Err(AwsError::missing("ResourceArns")),
        1..=20 => Ok(arns),
        many => Err(AwsError::validation(format!(
            "{many} resource ARNs are more than the 20 of one call"
        ))),
    }
}

pub(crate) fn of<'a>(region: &'a Region, arn: &str) -> Result<&'a Tags, AwsError> {
    Ok(match checks::arn(&region.place, arn)? {
        Resource::TargetGroup => &checks::target_group(region, arn)?.tags,
        Resource::LoadBalancer => &checks::load_balancer(region, arn)?.tags,
        Resource::Listener => &checks::listener(region, arn)?.tags,
    })
}

fn of_mut<'a>(region: &'a mut Region, arn: &str) -> Result<&'a mut Tags, AwsError> {
    let resource = checks::arn(&region.place, arn)?;
    Ok(match resource {
        Resource::TargetGroup => &mut checks::target_group_mut(region, arn)?.tags,
        Resource::LoadBalancer => &mut checks::load_balancer_mut(region, arn)?.tags,
        Resource::Listener => {
            let listener = region
                .listeners
                .get_mut(arn)
                .ok_or_else(|| resource.not_found())?;
            &mut Arc::make_mut(listener).tags
        }
    })
}
