//! Availability zones: three in every region.

use super::{filters::Filters, model::Tags};
use crate::{action::Reply, error::AwsError, query::Node, world::View, xml::Xml};

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let place = &view.region.place;
    let zones = place.zones();
    let (names, ids) = (params.texts("ZoneName"), params.texts("ZoneId"));
    let unknown = names
        .iter()
        .find(|name| !zones.iter().any(|zone| zone == *name))
        .or_else(|| {
            ids.iter()
                .find(|id| !zones.iter().any(|zone| place.zone_id(zone) == **id))
        });
    if let Some(unknown) = unknown {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("Invalid availability zone: [{unknown}]"),
        ));
    }
    let known = [
        "zone-name",
        "zone-id",
        "region-name",
        "state",
        "zone-type",
        "opt-in-status",
        "group-name",
    ];
    let filters = Filters::read(params, &known)?;
    let wanted = zones.iter().filter(|zone| {
        (names.is_empty() || names.contains(&zone.as_str()))
            && (ids.is_empty() || ids.contains(&place.zone_id(zone).as_str()))
            && filters.matches(&Tags::new(), |field| {
                vec![match field {
                    "zone-name" => (*zone).clone(),
                    "zone-id" => place.zone_id(zone),
                    "state" => "available".to_owned(),
                    "zone-type" => "availability-zone".to_owned(),
                    "opt-in-status" => "opt-in-not-required".to_owned(),
                    _ => place.region.clone(),
                }]
            })
    });
    let mut xml = Xml::new();
    xml.list("availabilityZoneInfo", "item", wanted, |xml, zone| {
        xml.text("zoneName", zone);
        xml.text("zoneId", place.zone_id(zone));
        xml.text("zoneState", "available");
        xml.text("zoneType", "availability-zone");
        xml.text("regionName", &place.region);
        xml.text("groupName", &place.region);
        xml.text("networkBorderGroup", &place.region);
        xml.text("optInStatus", "opt-in-not-required");
        xml.within("messageSet", |_| ());
    });
    Ok(xml)
}
