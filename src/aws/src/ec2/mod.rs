//! EC2, one family of calls per file.

pub(crate) mod interfaces;
pub(crate) mod rules;
pub(crate) mod security_groups;
pub(crate) mod vpcs;

use aws_sdk_ec2::types::Filter;

/// Values of one filter; EC2 takes 200.
const FILTER_VALUES: usize = 199;

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values.into_iter().collect()))
        .build()
}
