//! Changes behind the callers' backs, as another controller, a person or a failure would make them.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    core::Core,
    ec2::{
        self,
        model::{InstanceState, Peer, Rule, RuleMatch, Tags},
    },
    elbv2::{
        health::ScriptedHealth,
        model::{TargetGroup, TargetKey},
        refresh_use, targets,
    },
    handle::AdminError,
    place::Place,
};

/// A target to add, remove or script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    pub id: String,
    /// Without it: the group's port.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub zone: Option<String>,
}

impl TargetSpec {
    pub fn new(id: impl Into<String>, port: u16) -> Self {
        Self {
            id: id.into(),
            port: Some(port),
            zone: None,
        }
    }

    pub(crate) fn key(&self, group: &TargetGroup) -> TargetKey {
        TargetKey {
            id: self.id.clone(),
            port: self.port.unwrap_or(group.spec.port),
        }
    }
}

/// One change. Nothing of it is in the journal, and no quota or bucket counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Drift {
    AddTargets {
        target_group_arn: String,
        targets: Vec<TargetSpec>,
    },
    /// Without draining.
    RemoveTargets {
        target_group_arn: String,
        targets: Vec<TargetSpec>,
    },
    /// With draining.
    DeregisterTargets {
        target_group_arn: String,
        targets: Vec<TargetSpec>,
    },
    /// Sets attributes and tags; a tag without a value is taken away.
    ModifyTargetGroup {
        target_group_arn: String,
        #[serde(default)]
        attributes: BTreeMap<String, String>,
        #[serde(default)]
        tags: BTreeMap<String, Option<String>>,
    },
    /// Also one that is in use.
    DeleteTargetGroup { target_group_arn: String },
    /// Also one that is protected.
    DeleteLoadBalancer { load_balancer_arn: String },
    /// Scripts the verdict of the health checks; without `health` the target is healthy again.
    SetHealth {
        target_group_arn: String,
        target: TargetSpec,
        #[serde(default)]
        health: Option<ScriptedHealth>,
    },
    SetInstanceState {
        account: String,
        region: String,
        instance_id: String,
        state: InstanceState,
    },
    /// An ingress rule that somebody makes by hand.
    AuthorizeRule {
        account: String,
        region: String,
        security_group_id: String,
        /// `tcp` or `udp`.
        protocol: String,
        from_port: u16,
        to_port: u16,
        /// A CIDR or a security group.
        peer: String,
    },
    RevokeRule {
        account: String,
        region: String,
        security_group_rule_id: String,
    },
}

pub(crate) fn apply(core: &mut Core, drift: &Drift) -> Result<(), AdminError> {
    let now = core.clock.now();
    match drift {
        Drift::AddTargets {
            target_group_arn,
            targets,
        } => add(core, target_group_arn, targets),
        Drift::RemoveTargets {
            target_group_arn,
            targets,
        } => {
            let group = group(core, target_group_arn)?;
            for spec in targets {
                group.targets.remove(&spec.key(group));
            }
            Ok(())
        }
        Drift::DeregisterTargets {
            target_group_arn,
            targets,
        } => {
            let group = group(core, target_group_arn)?;
            for spec in targets {
                group.deregister(&spec.key(group), now);
            }
            Ok(())
        }
        Drift::ModifyTargetGroup {
            target_group_arn,
            attributes,
            tags,
        } => modify(core, target_group_arn, attributes, tags),
        Drift::DeleteTargetGroup { target_group_arn } => delete_target_group(core, target_group_arn),
        Drift::DeleteLoadBalancer { load_balancer_arn } => delete_load_balancer(core, load_balancer_arn),
        Drift::SetHealth {
            target_group_arn,
            target,
            health,
        } => set_health(core, target_group_arn, target, health.as_ref()),
        Drift::SetInstanceState {
            account,
            region,
            instance_id,
            state,
        } => {
            let region = core.world.region_mut(&Place::new(account, region), now);
            let known = ec2::set_state(region, instance_id, *state, now);
            known
                .then_some(())
                .ok_or_else(|| unknown("instance", instance_id))
        }
        Drift::AuthorizeRule {
            account,
            region,
            security_group_id,
            protocol,
            from_port,
            to_port,
            peer,
        } => {
            let matches = RuleMatch {
                protocol: protocol.clone(),
                ports: Some((i32::from(*from_port), i32::from(*to_port))),
                peer: peer_of(account, peer)?,
            };
            let rule = Rule {
                id: core.ids.ec2("sgr"),
                egress: false,
                matches,
                description: None,
                tags: Tags::new(),
            };
            let region = core.world.region_mut(&Place::new(account, region), now);
            let group = region.security_groups.get_mut(security_group_id);
            Arc::make_mut(group.ok_or_else(|| unknown("security group", security_group_id))?)
                .rules
                .insert(rule.id.clone(), rule);
            Ok(())
        }
        Drift::RevokeRule {
            account,
            region,
            security_group_rule_id: id,
        } => {
            let region = core.world.region_mut(&Place::new(account, region), now);
            let holder = region
                .security_groups
                .values_mut()
                .find(|group| group.rules.contains_key(id));
            Arc::make_mut(holder.ok_or_else(|| unknown("rule", id))?)
                .rules
                .remove(id);
            Ok(())
        }
    }
}

fn peer_of(account: &str, text: &str) -> Result<Peer, AdminError> {
    if text.starts_with("sg-") {
        return Ok(Peer::Group {
            id: text.to_owned(),
            owner: account.to_owned(),
        });
    }
    match text.parse() {
        Ok(IpNet::V4(block)) => Ok(Peer::V4(block.to_string())),
        Ok(IpNet::V6(block)) => Ok(Peer::V6(block.to_string())),
        Err(_) => Err(unknown("peer", text)),
    }
}

fn add(core: &mut Core, arn: &str, specs: &[TargetSpec]) -> Result<(), AdminError> {
    let now = core.clock.now();
    let group = group(core, arn)?;
    group.sweep(now);
    for spec in specs {
        targets::add(group, spec.key(group), spec.zone.clone(), now);
    }
    Ok(())
}

fn set_health(
    core: &mut Core,
    arn: &str,
    spec: &TargetSpec,
    health: Option<&ScriptedHealth>,
) -> Result<(), AdminError> {
    let group = group(core, arn)?;
    let key = spec.key(group);
    let target = group.targets.get_mut(&key);
    target
        .ok_or_else(|| unknown("target", format!("{}:{}", key.id, key.port)))?
        .scripted = health.cloned();
    Ok(())
}

fn modify(
    core: &mut Core,
    arn: &str,
    attributes: &BTreeMap<String, String>,
    tags: &BTreeMap<String, Option<String>>,
) -> Result<(), AdminError> {
    let group = group(core, arn)?;
    group.attributes.extend(attributes.clone());
    for (key, value) in tags {
        match value {
            Some(value) => group.tags.insert(key.clone(), value.clone()),
            None => group.tags.remove(key),
        };
    }
    Ok(())
}

fn delete_target_group(core: &mut Core, arn: &str) -> Result<(), AdminError> {
    group(core, arn)?;
    let now = core.clock.now();
    let region = core.world.region_mut(&place("target group", arn)?, now);
    region.target_groups.remove(arn);
    region
        .listeners
        .retain(|_, listener| listener.target_groups().all(|group| group != arn));
    refresh_use(region, now);
    Ok(())
}

fn delete_load_balancer(core: &mut Core, arn: &str) -> Result<(), AdminError> {
    let now = core.clock.now();
    let region = core.world.region_mut(&place("load balancer", arn)?, now);
    region
        .load_balancers
        .remove(arn)
        .ok_or_else(|| unknown("load balancer", arn))?;
    region
        .listeners
        .retain(|_, listener| listener.spec.load_balancer != *arn);
    refresh_use(region, now);
    Ok(())
}

fn unknown(kind: &'static str, id: impl Into<String>) -> AdminError {
    AdminError::Unknown { kind, id: id.into() }
}

fn place(kind: &'static str, arn: &str) -> Result<Place, AdminError> {
    Place::of_arn(arn).ok_or_else(|| AdminError::Unknown {
        kind,
        id: arn.to_owned(),
    })
}

fn group<'a>(core: &'a mut Core, arn: &str) -> Result<&'a mut TargetGroup, AdminError> {
    let place = place("target group", arn)?;
    let now = core.clock.now();
    let found = core.world.region_mut(&place, now).target_groups.get_mut(arn);
    found.map(Arc::make_mut).ok_or_else(|| AdminError::Unknown {
        kind: "target group",
        id: arn.to_owned(),
    })
}
