//! Identity-based policies: who may do what. A principal without one may do everything.

mod condition;
mod demand;
mod pattern;
mod policy;

use std::collections::BTreeMap;

use self::policy::{Demand, Verdict};
use crate::{error::AwsError, place::Place, query::Node, service::Service, sts::Caller, world::Region};

pub use self::policy::Policy;

/// The policies, by principal: an access key, or the ARN of a role.
#[derive(Debug, Default)]
pub(crate) struct Policies(BTreeMap<String, Policy>);

impl Policies {
    /// Without a policy the principal may do everything again.
    pub(crate) fn set(&mut self, principal: String, policy: Option<Policy>) {
        match policy {
            Some(policy) => self.0.insert(principal, policy),
            None => self.0.remove(&principal),
        };
    }

    /// Whether the caller may make this call, with the resources as they are.
    pub(crate) fn check(
        &self,
        caller: &Caller,
        service: Service,
        action: &str,
        params: &Node<'_>,
        region: &Region,
    ) -> Result<(), AwsError> {
        let Some(policy) = self.0.get(&caller.principal) else {
            return Ok(());
        };
        for demand in demand::of(service, action, params, region) {
            let Demand {
                permission, resource, ..
            } = &demand;
            match policy.judge(&demand) {
                Verdict::Allowed => {}
                Verdict::NotAllowed => return Err(not_allowed(service, caller, permission, resource)),
                Verdict::Denied => {
                    let reason = "with an explicit deny in an identity-based policy";
                    return Err(denied(service, caller, permission, resource, reason));
                }
            }
        }
        Ok(())
    }
}

/// A call that nothing allows, in the words of the service: the message names the permission that is missing.
pub(crate) fn not_allowed(service: Service, caller: &Caller, permission: &str, resource: &str) -> AwsError {
    let reason = format!("because no identity-based policy allows the {permission} action");
    denied(service, caller, permission, resource, &reason)
}

fn denied(service: Service, caller: &Caller, permission: &str, resource: &str, reason: &str) -> AwsError {
    let message = format!(
        "User: {} is not authorized to perform: {permission} on resource: {resource} {reason}",
        caller.arn
    );
    let (code, message) = match service {
        Service::Ec2 => (
            "UnauthorizedOperation",
            format!("You are not authorized to perform this operation. {message}"),
        ),
        Service::Elbv2 | Service::Sts => ("AccessDenied", message),
    };
    AwsError::new(code, message).with_status(403)
}

/// Of the caller's own place.
fn arn(place: &Place, service: Service, resource: impl std::fmt::Display) -> String {
    place.arn(service.iam_prefix(), resource)
}
