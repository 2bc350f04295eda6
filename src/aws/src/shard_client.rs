//! AWS as one shard's writer sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aws_config::SdkConfig;
use model::{
    Observed, SecurityGroupId, Shard, Target, TargetGroupArn,
    managed::{GroupStep, ManagedSpec, ObservedGroup},
    network::{Interfaces, ObservedRule, Permission, Place, SecurityGroupRuleId},
    target::ObservedTarget,
    target_group::TargetGroupFacts,
};

use crate::{
    Clock, Deadline, Error, Failure, Lookup, Metrics, Outcome, Receipt, RuleOutcome, Settings,
    budget::{Batch, Budget, Category, Lane, Permit, Start, Turn},
    call::Caller,
    ec2::{
        interfaces::Directory,
        rules::{self, Line},
        vpcs::Vpcs,
    },
    elbv2::{self, targets::Write},
};

/// The client of one AWS account and region. Clones share connections, caches and budget.
#[derive(Clone)]
pub struct ShardClient {
    inner: Arc<Inner>,
}

struct Inner {
    shard: Shard,
    elbv2: aws_sdk_elasticloadbalancingv2::Client,
    ec2: aws_sdk_ec2::Client,
    vpcs: Vpcs,
    interfaces: Directory,
    caller: Caller,
    targets_per_call: usize,
}

impl ShardClient {
    pub(crate) fn new(
        shard: &Shard,
        config: &SdkConfig,
        settings: &Settings,
        metrics: &Metrics,
        clock: &Clock,
        start: Start,
    ) -> Self {
        let caller = Caller {
            budget: Budget::new(settings.budgets.clone(), start),
            metrics: metrics.clone(),
            clock: clock.clone(),
            shard: shard.to_string(),
            attempt_timeout: settings.attempt_timeout,
            read_attempts: settings.read_attempts,
        };
        metrics.show(&caller.shard, &caller.budget);
        let ec2 = aws_sdk_ec2::Client::new(config);
        Self {
            inner: Arc::new(Inner {
                shard: shard.clone(),
                elbv2: aws_sdk_elasticloadbalancingv2::Client::new(config),
                vpcs: Vpcs::new(ec2.clone(), settings.vpc_ttl),
                interfaces: Directory::new(
                    ec2.clone(),
                    settings.interface_ttl,
                    settings.missing_interface_ttl,
                ),
                ec2,
                caller,
                targets_per_call: settings.targets_per_call.max(1),
            }),
        }
    }

    /// The account and region.
    pub fn shard(&self) -> &Shard {
        &self.inner.shard
    }

    /// Connects, and fetches credentials, so that the first change need not wait for it.
    pub async fn warm(&self) -> Result<(), Error> {
        elbv2::target_groups::warm(&self.inner.caller, &self.inner.elbv2).await
    }

    /// What the group is. `Absent` only if AWS says that it does not exist; `at` is when the question was sent.
    pub async fn target_group(&self, arn: &TargetGroupArn) -> Result<Observed<TargetGroupFacts>, Error> {
        let Inner {
            caller, elbv2, vpcs, ..
        } = &*self.inner;
        elbv2::target_groups::describe(caller, elbv2, vpcs, arn).await
    }

    /// What the group holds, draining targets included. `Absent` only if AWS says that it does not exist; `at` is when
    /// the question was sent.
    pub async fn target_health(&self, arn: &TargetGroupArn) -> Result<Observed<Vec<ObservedTarget>>, Error> {
        elbv2::health::describe(&self.inner.caller, &self.inner.elbv2, arn).await
    }

    /// How long AWS lets a deregistered target of the group finish what it serves. `None`: it does not say.
    pub async fn deregistration_delay(&self, arn: &TargetGroupArn) -> Result<Option<Duration>, Error> {
        elbv2::attributes::deregistration_delay(&self.inner.caller, &self.inner.elbv2, arn).await
    }

    /// How much longer this batch of the group, which is `targets` by now, should gather before it is planned for the
    /// last time and written. Zero lets it go.
    pub fn gather(&self, tenant: &str, arn: &TargetGroupArn, batch: Batch, targets: usize) -> Duration {
        self.inner.caller.budget.gather(tenant, arn, batch, targets)
    }

    /// Waits for leave to write targets. `turn` says on whose behalf: within a lane, turns alternate. What is written
    /// had best be decided after it has come, so that late changes join the call. Dropped unspent it costs nothing.
    pub async fn permit(&self, lane: Lane, turn: impl Into<Turn<'_>>) -> Permit {
        self.inner.caller.permit(Category::Registration, lane, turn).await
    }

    /// Leave to write targets now, if there is a call left that nobody waits for.
    pub fn try_permit(&self, lane: Lane) -> Option<Permit> {
        self.inner.caller.budget.try_acquire(Category::Registration, lane)
    }

    /// Everything about a group that is ours, or that may become so. `Absent` only if AWS says that it does not exist;
    /// `at` is when the question was sent.
    pub async fn managed_group(&self, lookup: Lookup<'_>) -> Result<Observed<ObservedGroup>, Error> {
        elbv2::managed::describe(&self.inner.caller, &self.inner.elbv2, lookup).await
    }

    /// Waits for leave to make the call of a step; as [`permit`](Self::permit).
    pub async fn group_permit(&self, spec: &ManagedSpec, step: &GroupStep) -> Permit {
        let (caller, lane) = (&self.inner.caller, elbv2::managed::lane(step));
        caller.permit(Category::Mutating, lane, spec.name.as_str()).await
    }

    /// Makes the call of a step, once, and only if it cannot last beyond `deadline`. `None`: the step calls nobody.
    pub async fn write_group(
        &self,
        permit: Permit,
        spec: &ManagedSpec,
        step: &GroupStep,
        deadline: Deadline,
    ) -> Option<Result<Receipt, Failure>> {
        elbv2::managed::Writer {
            caller: &self.inner.caller,
            client: &self.inner.elbv2,
            spec,
            deadline,
        }
        .write(permit, step)
        .await
    }

    /// How full the bucket of this category is, 0 to 1.
    pub fn level(&self, category: Category) -> f64 {
        self.inner.caller.budget.level(category)
    }

    /// Registers `targets`; present ones succeed. Every target is in exactly one outcome.
    ///
    /// The permit pays for the first call, further ones (more targets than fit into one, or a target that AWS refuses)
    /// are paid for as they come. No call starts that could last beyond `deadline`, and none is made twice.
    pub async fn register(
        &self,
        permit: Permit,
        arn: &TargetGroupArn,
        targets: &[Target],
        deadline: Deadline,
    ) -> Vec<Outcome> {
        self.write(Write::Register, permit, arn, targets, deadline).await
    }

    /// Deregisters `targets`; unknown ones succeed. As [`register`](Self::register) otherwise.
    pub async fn deregister(
        &self,
        permit: Permit,
        arn: &TargetGroupArn,
        targets: &[Target],
        deadline: Deadline,
    ) -> Vec<Outcome> {
        self.write(Write::Deregister, permit, arn, targets, deadline)
            .await
    }

    /// The network interfaces at these places, from memory as far as it goes.
    pub async fn interfaces(&self, places: &BTreeSet<Place>) -> Interfaces {
        let Inner {
            caller, interfaces, ..
        } = &*self.inner;
        interfaces.find(caller, places).await
    }

    /// The ingress rules of a security group; `at` is when the question was sent. AWS does not tell a group without
    /// rules from one that does not exist.
    pub async fn rules(&self, group: &SecurityGroupId) -> Result<Observed<Vec<ObservedRule>>, Error> {
        rules::describe(&self.inner.caller, &self.inner.ec2, group).await
    }

    /// Waits for leave to write rules of the group; as [`permit`](Self::permit).
    pub async fn rule_permit(&self, group: &SecurityGroupId) -> Permit {
        let caller = &self.inner.caller;
        caller
            .permit(Category::Ec2Mutating, Lane::Rules, group.as_str())
            .await
    }

    /// Makes ingress rules, each with its description and all with `tags`. Every rule is in exactly one outcome. As
    /// [`register`](Self::register) as for permits and the deadline.
    pub async fn authorize(
        &self,
        permit: Permit,
        group: &SecurityGroupId,
        permissions: &[(Permission, String)],
        tags: &BTreeMap<String, String>,
        deadline: Deadline,
    ) -> Vec<RuleOutcome> {
        let lines = permissions.iter().map(|(permission, description)| Line {
            permission: permission.clone(),
            text: description.clone(),
        });
        self.rule_writer(group, rules::Write::Authorize(tags), deadline)
            .all(permit, lines.collect())
            .await
    }

    /// Ends ingress rules by their ids. As [`authorize`](Self::authorize) otherwise.
    pub async fn revoke(
        &self,
        permit: Permit,
        group: &SecurityGroupId,
        rules: &[(Permission, SecurityGroupRuleId)],
        deadline: Deadline,
    ) -> Vec<RuleOutcome> {
        let lines = rules.iter().map(|(permission, id)| Line {
            permission: permission.clone(),
            text: id.to_string(),
        });
        self.rule_writer(group, rules::Write::Revoke, deadline)
            .all(permit, lines.collect())
            .await
    }

    fn rule_writer<'a>(
        &'a self,
        group: &'a SecurityGroupId,
        write: rules::Write<'a>,
        deadline: Deadline,
    ) -> rules::Writer<'a> {
        rules::Writer {
            caller: &self.inner.caller,
            client: &self.inner.ec2,
            group,
            write,
            deadline,
        }
    }

    async fn write(
        &self,
        write: Write,
        permit: Permit,
        arn: &TargetGroupArn,
        targets: &[Target],
        deadline: Deadline,
    ) -> Vec<Outcome> {
        let Inner {
            caller,
            elbv2,
            targets_per_call,
            ..
        } = &*self.inner;
        elbv2::targets::Writer {
            caller,
            client: elbv2,
            write,
            arn,
            deadline,
        }
        .all(permit, targets, *targets_per_call)
        .await
    }
}

impl std::fmt::Debug for ShardClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardClient")
            .field("shard", &self.inner.shard)
            .finish_non_exhaustive()
    }
}
