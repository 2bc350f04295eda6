//! DescribeVpcs: the address ranges that say whether a target is inside its group's VPC.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_ec2::{
    Client,
    types::{Vpc, VpcCidrBlockState, VpcCidrBlockStateCode},
};
use ipnet::IpNet;
use tokio::time::Instant;

use crate::{Error, ErrorClass, budget::Category, call::Caller, metrics::Action};

const ACTION: Action = Action::DescribeVpcs;

/// The VPCs of a shard, believed for a while.
pub(crate) struct Vpcs {
    client: Client,
    ttl: Duration,
    known: Mutex<HashMap<String, Known>>,
    denial_reported: AtomicBool,
}

#[derive(Clone)]
struct Known {
    until: Instant,
    cidrs: Option<Vec<IpNet>>,
}

impl Vpcs {
    pub(crate) fn new(client: Client, ttl: Duration) -> Self {
        Self {
            client,
            ttl,
            known: Mutex::default(),
            denial_reported: AtomicBool::new(false),
        }
    }

    /// The CIDR blocks of a VPC. `None`: we may not know them.
    pub(crate) async fn cidrs(&self, caller: &Caller, vpc: &str) -> Result<Option<Vec<IpNet>>, Error> {
        if let Some(known) = self.lock().get(vpc).filter(|known| Instant::now() < known.until) {
            return Ok(known.cidrs.clone());
        }
        let request = self.client.describe_vpcs().vpc_ids(vpc);
        let cidrs = match caller
            .read(ACTION, Category::Ec2Describe, vpc, || request.clone().send())
            .await
        {
            Ok((_, answer)) => {
                let found = answer.vpcs().iter().find(|found| found.vpc_id() == Some(vpc));
                Some(blocks(found.ok_or_else(|| {
                    Error::answer(ACTION, format!("it does not list {vpc}"))
                })?)?)
            }
            Err(failure) if matches!(failure.class, ErrorClass::AccessDenied | ErrorClass::Unsupported) => {
                if !self.denial_reported.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        shard = caller.shard, %failure,
                        "targets outside their group's VPC cannot be told apart and will be refused by AWS"
                    );
                }
                None
            }
            Err(failure) => return Err(failure.into()),
        };
        let known = Known {
            until: Instant::now() + self.ttl,
            cidrs: cidrs.clone(),
        };
        self.lock().insert(vpc.to_owned(), known);
        Ok(cidrs)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The associated blocks, IPv4 and IPv6. `cidrBlock` alone is only the first of them.
fn blocks(vpc: &Vpc) -> Result<Vec<IpNet>, Error> {
    let v4 = vpc
        .cidr_block_association_set()
        .iter()
        .filter(|association| is_associated(association.cidr_block_state()))
        .filter_map(|association| association.cidr_block());
    let v6 = vpc
        .ipv6_cidr_block_association_set()
        .iter()
        .filter(|association| is_associated(association.ipv6_cidr_block_state()))
        .filter_map(|association| association.ipv6_cidr_block());
    v4.chain(v6)
        .map(|block| {
            block
                .parse()
                .map_err(|_| Error::answer(ACTION, format!("`{block}` is no CIDR block")))
        })
        .collect()
}

fn is_associated(state: Option<&VpcCidrBlockState>) -> bool {
    state.and_then(VpcCidrBlockState::state) == Some(&VpcCidrBlockStateCode::Associated)
}
