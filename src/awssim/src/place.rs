//! Where a resource lives: partition, account, region; and the names that follow from it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One account in one region. Nothing is shared between two places.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-central-1`. The partition follows from it.
    pub region: String,
}

impl Place {
    pub fn new(account: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            region: region.into(),
        }
    }

    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }

    /// `com`, or `com.cn` in China.
    pub(crate) fn dns_suffix(&self) -> &'static str {
        match self.partition() {
            "aws-cn" => "amazonaws.com.cn",
            "aws-iso" => "c2s.ic.gov",
            "aws-iso-b" => "sc2s.sgov.gov",
            _ => "amazonaws.com",
        }
    }

    pub(crate) fn arn(&self, service: &str, resource: impl fmt::Display) -> String {
        format!(
            "arn:{}:{service}:{}:{}:{resource}",
            self.partition(),
            self.region,
            self.account
        )
    }

    pub(crate) fn elb_arn(&self, resource: impl fmt::Display) -> String {
        self.arn("elasticloadbalancing", resource)
    }

    /// The place that an ARN names, if it is one with a region and an account.
    pub fn of_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (arn, _partition, _service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account) = (parts.next()?, parts.next()?);
        (arn == "arn" && !region.is_empty() && !account.is_empty()).then(|| Self::new(account, region))
    }

    /// The zones of the region: three, as in most of AWS's regions.
    pub(crate) fn zones(&self) -> [String; 3] {
        ["a", "b", "c"].map(|letter| format!("{}{letter}", self.region))
    }

    /// The id of a zone, which is the same for all accounts: `euc1-az1`.
    pub(crate) fn zone_id(&self, zone: &str) -> String {
        let short: String = self
            .region
            .split('-')
            .enumerate()
            .map(|(index, part)| {
                if index == 0 {
                    part
                } else {
                    &part[..part.len().min(1)]
                }
            })
            .collect();
        let number = zone
            .bytes()
            .last()
            .map_or(1, |letter| letter.saturating_sub(b'a') + 1);
        format!("{short}-az{number}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

pub(crate) fn partition(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 6] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eusc-", "aws-eusc"),
    ];
    BY_PREFIX
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix))
        .map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_follows_from_the_region() {
        for (region, partition) in [
            ("eu-central-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
        ] {
            assert_eq!(Place::new("111122223333", region).partition(), partition);
        }
    }

    #[test]
    fn an_arn_names_its_place() {
        let place = Place::new("111122223333", "cn-north-1");
        let arn = place.elb_arn("targetgroup/web/0123456789abcdef");
        assert_eq!(
            arn,
            "arn:aws-cn:elasticloadbalancing:cn-north-1:111122223333:targetgroup/web/0123456789abcdef"
        );
        assert_eq!(Place::of_arn(&arn), Some(place));
        assert_eq!(Place::of_arn("web"), None);
    }

    #[test]
    fn a_zone_id_is_short_for_its_zone() {
        let place = Place::new("111122223333", "eu-central-1");
        assert_eq!(place.zone_id("eu-central-1b"), "euc1-az2");
    }
}
