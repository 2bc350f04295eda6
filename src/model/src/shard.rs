//! The shard: one AWS account and region, the unit of API budget and of single-writer ownership.

use std::{fmt, str::FromStr};

use crate::parse::{Invalid, text_type};

/// An AWS partition, e.g. `aws` or `aws-cn`. Never assumed: ARNs name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(String);

impl Partition {
    /// The partition that a region belongs to, by the prefix AWS gives its regions
    /// (<https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>).
    pub fn of(region: &Region) -> Self {
        let name = region.as_str();
        let partition = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
            ("eusc-", "aws-eusc"),
        ]
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or("aws", |(_, partition)| partition);
        Self(partition.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Partition {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let valid = (text == "aws" || text.starts_with("aws-"))
            && text.len() <= 32
            && text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(
                "partition",
                text,
                "an AWS partition such as `aws`, `aws-cn` or `aws-us-gov`",
            ))
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Twelve digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("account id", text, "twelve digits"))
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A region code such as `eu-central-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split('-').collect();
        let word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        let valid = text.len() <= 32
            && parts.len() >= 3
            && parts[..parts.len() - 1].iter().all(word)
            && parts[parts.len() - 1].bytes().all(|b| b.is_ascii_digit())
            && !parts[parts.len() - 1].is_empty();
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(
                "region",
                text,
                "an AWS region code such as `eu-central-1`",
            ))
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One AWS account and region. Written `partition/account/region`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    pub partition: Partition,
    pub account: AccountId,
    pub region: Region,
}

impl Shard {
    /// The shard of an account and region; the region says the partition.
    pub fn new(account: AccountId, region: Region) -> Self {
        Self {
            partition: Partition::of(&region),
            account,
            region,
        }
    }
}

impl FromStr for Shard {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(partition), Some(account), Some(region), None) => Ok(Self {
                partition: partition.parse()?,
                account: account.parse()?,
                region: region.parse()?,
            }),
            _ => Err(Invalid::new(
                "shard",
                text,
                "`partition/account/region`, e.g. `aws/123456789012/eu-central-1`",
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.partition, self.account, self.region)
    }
}

text_type!(Partition);
text_type!(AccountId);
text_type!(Region);
text_type!(Shard);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_names_its_partition() {
        for (region, partition) in [
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-east-1", "aws"),
            ("us-iso-east-1", "aws-iso"),
        ] {
            let region: Region = region.parse().unwrap();
            assert_eq!(Partition::of(&region).as_str(), partition);
        }
    }

    #[test]
    fn a_shard_is_written_as_it_is_read() {
        let shard: Shard = "aws-cn/123456789012/cn-north-1".parse().unwrap();
        assert_eq!(shard.to_string(), "aws-cn/123456789012/cn-north-1");
        assert!("aws/1/us-east-1".parse::<Shard>().is_err());
        assert!("aws/123456789012/us-east-1/x".parse::<Shard>().is_err());
    }
}
