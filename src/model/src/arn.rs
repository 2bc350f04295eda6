//! ARNs that users write and that we parse before AWS sees them.

use std::{fmt, str::FromStr};

use crate::{
    parse::{Invalid, text_type},
    shard::{AccountId, Partition, Shard},
};

/// `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`. It names its own shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetGroupArn {
    shard: Shard,
    name: String,
    id: String,
}

impl TargetGroupArn {
    /// The shard whose budget and writer this group belongs to.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The target group's name in AWS.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for TargetGroupArn {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new(
                "target group ARN",
                text,
                "`arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`",
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [
            "arn",
            partition,
            "elasticloadbalancing",
            region,
            account,
            resource,
        ] = parts[..]
        else {
            return Err(invalid());
        };
        let resource: Vec<&str> = resource.split('/').collect();
        let ["targetgroup", name, id] = resource[..] else {
            return Err(invalid());
        };
        let word = |part: &str, max| {
            (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !word(name, 32) || !word(id, 64) {
            return Err(invalid());
        }
        let shard = Shard {
            partition: partition.parse().map_err(|_| invalid())?,
            account: account.parse().map_err(|_| invalid())?,
            region: region.parse().map_err(|_| invalid())?,
        };
        Ok(Self {
            shard,
            name: name.to_owned(),
            id: id.to_owned(),
        })
    }
}

impl fmt::Display for TargetGroupArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shard {
            partition,
            account,
            region,
        } = &self.shard;
        write!(
            f,
            "arn:{partition}:elasticloadbalancing:{region}:{account}:targetgroup/{}/{}",
            self.name, self.id
        )
    }
}

text_type!(TargetGroupArn);

/// `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    partition: Partition,
    account: AccountId,
    /// With its path.
    name: String,
}

impl RoleArn {
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The account that the role lets in.
    pub fn account(&self) -> &AccountId {
        &self.account
    }
}

impl FromStr for RoleArn {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("role ARN", text, "`arn:PARTITION:iam::ACCOUNT:role/NAME`");
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else {
            return Err(invalid());
        };
        let name = resource.strip_prefix("role/").ok_or_else(invalid)?;
        // IAM's own rule for paths and names; a path may hold 512 characters and a name 64.
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&b);
        if !(1..=577).contains(&name.len()) || !name.bytes().all(letter) || name.ends_with('/') {
            return Err(invalid());
        }
        Ok(Self {
            partition: partition.parse().map_err(|_| invalid())?,
            account: account.parse().map_err(|_| invalid())?,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            account,
            name,
        } = self;
        write!(f, "arn:{partition}:iam::{account}:role/{name}")
    }
}

text_type!(RoleArn);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_written_as_it_is_read_and_names_its_shard() {
        let text =
            "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/test-tg-ip/1ce5b7da835c9ffb";
        let arn: TargetGroupArn = text.parse().unwrap();
        assert_eq!(arn.to_string(), text);
        assert_eq!(arn.name(), "test-tg-ip");
        assert_eq!(arn.shard().to_string(), "aws-cn/123456789012/cn-north-1");
    }

    #[test]
    fn a_role_names_its_account() {
        let text = "arn:aws-cn:iam::210987654321:role/teams/shop/elbow";
        let role: RoleArn = text.parse().unwrap();
        assert_eq!(
            (role.to_string().as_str(), role.account().as_str()),
            (text, "210987654321")
        );
        for bad in [
            "arn:aws:iam::210987654321:user/elbow",
            "arn:aws:iam:us-east-1:210987654321:role/elbow",
            "arn:aws:iam::2109:role/elbow",
            "arn:aws:iam::210987654321:role/",
            "arn:aws:iam::210987654321:role/a b",
        ] {
            assert!(bad.parse::<RoleArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_target_group_arn_is_refused() {
        for text in [
            "",
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/1",
            "arn:aws:ec2:us-east-1:123456789012:targetgroup/x/1",
            "arn:aws:elasticloadbalancing:us-east-1:12:targetgroup/x/1",
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x",
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x y/1",
        ] {
            assert!(text.parse::<TargetGroupArn>().is_err(), "{text}");
        }
    }
}
