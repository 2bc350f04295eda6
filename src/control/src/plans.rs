//! Plans: the journal, and what would be done now.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use model::{
    BindingId, Name, PlanId, TargetGroupArn,
    binding::{Binding, Lifecycle, Origin},
    fact::ObjectName,
    group::{BoundService, GroupSnapshot},
    managed::GroupPlan,
    ownership::Standing,
};
use planner::{Circumstances, Input, Seen};
use serde_json::Value;
use store::{DeclaredGroup, JournaledPlan};
use uuid::Uuid;

use crate::{
    Control, Error, Listing, Page, Principal, text,
    view::{Preview, PreviewedObject},
};

impl Control {
    /// The journal of a target group, the newest first.
    pub async fn list_plans(
        &self,
        principal: &Principal,
        target_group: &Name,
        page: &Page,
    ) -> Result<Listing<JournaledPlan>, Error> {
        principal.read("list plans")?;
        let after = page.after::<PlanId>()?;
        let group = self.whole_target_group(principal, target_group).await?;
        let plans = match &group.arn {
            Some(arn) => self.store.plans(arn, after, page.rows()).await?,
            None => Vec::new(),
        };
        Ok(page.cut(plans, |plan| plan.id.to_string()))
    }

    /// The journal of a managed group itself, the newest first. Who sees everything sees that of one that is gone, too.
    pub async fn list_group_plans(
        &self,
        principal: &Principal,
        target_group: &Name,
        page: &Page,
    ) -> Result<Listing<JournaledPlan<GroupPlan>>, Error> {
        principal.read("list plans")?;
        let after = page.after::<PlanId>()?;
        if principal.scope.is_some() {
            self.whole_target_group(principal, target_group).await?;
        }
        let plans = self.store.group_plans(target_group, after, page.rows()).await?;
        Ok(page.cut(plans, |plan| plan.id.to_string()))
    }

    pub async fn get_plan(&self, principal: &Principal, id: PlanId) -> Result<JournaledPlan, Error> {
        principal.read("read plans")?;
        let plan = self.store.plan(id).await?;
        let plan = plan.ok_or_else(|| Error::not_found("plan", &id))?;
        if self.sees_whole(principal, &plan.plan.target_group).await? {
            Ok(plan)
        } else {
            Err(Error::not_found("plan", &id))
        }
    }

    /// Whether nothing of the group is anybody's whom the caller may not know of: its plans name pods and bindings.
    pub(crate) async fn sees_whole(
        &self,
        principal: &Principal,
        arn: &TargetGroupArn,
    ) -> Result<bool, Error> {
        if principal.scope.is_none() {
            return Ok(true);
        }
        let group = self.store.target_group_by_arn(arn).await?;
        Ok(group.is_some_and(|group| principal.sees_all_of(&group.spec.clusters, &group.spec.grants)))
    }

    async fn whole_target_group(&self, principal: &Principal, name: &Name) -> Result<DeclaredGroup, Error> {
        let group = self.target_group_for(principal, name).await?;
        if principal.sees_all_of(&group.clusters, &group.grants) {
            return Ok(group);
        }
        Err(Error::OutOfScope {
            principal: principal.name.clone(),
            action: "read the plans of a target group that others share",
        })
    }

    /// What would be done if these objects were in the cluster now. An object in error is told with its problem; the
    /// others are planned.
    pub async fn preview_objects(
        &self,
        principal: &Principal,
        cluster: &Name,
        objects: Vec<(ObjectName, Value)>,
    ) -> Result<Preview, Error> {
        for (object, _) in &objects {
            text::object_name(object)?;
            principal.read_in("preview plans", cluster, &object.namespace)?;
        }
        let state = self.cluster(cluster).await?;
        let cluster = state.cluster;
        let compiler = self
            .compiler(&cluster, objects.iter().map(|(_, spec)| spec))
            .await?;
        let mut previewed = Vec::with_capacity(objects.len());
        let mut groups: BTreeMap<TargetGroupArn, Vec<BoundService>> = BTreeMap::new();
        for (index, (object, spec)) in objects.into_iter().enumerate() {
            let compiled = compiler.compile(&object.namespace, &spec);
            // Ids that no stored binding has: those are of version 4.
            let id = BindingId(Uuid::from_u128(index as u128 + 1));
            if let Ok(spec) = &compiled {
                let service = ObjectName::new(object.namespace.clone(), spec.service.clone());
                let facts = self.store.service_facts(cluster.id, &service).await?;
                groups
                    .entry(spec.target_group.clone())
                    .or_default()
                    .push(BoundService {
                        binding: Binding {
                            id,
                            cluster: cluster.id,
                            object: object.clone(),
                            origin: Origin::Object,
                            generation: 1,
                            lifecycle: Lifecycle::Active,
                            standing: Standing::Served,
                            spec: Some(spec.clone()),
                            problem: None,
                            version: 1,
                        },
                        bound_since: Timestamp::UNIX_EPOCH,
                        cluster: cluster.clone(),
                        last_seen: state.seen_at,
                        paused: None,
                        facts: facts.unwrap_or_default(),
                        nodes: Arc::default(),
                        openings: BTreeMap::new(),
                        unopened: None,
                    });
            }
            previewed.push(PreviewedObject {
                object,
                id,
                problem: compiled.err(),
                status: None,
            });
        }
        let mut plans = Vec::with_capacity(groups.len());
        for (arn, bound) in groups {
            let (mut snapshot, seen) = self.known(&arn).await?;
            let nodes = snapshot
                .bindings
                .iter()
                .find(|bound| bound.cluster.id == cluster.id);
            let nodes = nodes.map(|bound| bound.nodes.clone()).unwrap_or_default();
            for mut new in bound {
                new.nodes = nodes.clone();
                new.bound_since = snapshot.now;
                let same = |old: &BoundService| {
                    let old = &old.binding;
                    old.cluster == new.binding.cluster
                        && old.object == new.binding.object
                        && old.origin == Origin::Object
                        && old.lifecycle == Lifecycle::Active
                };
                let stored = snapshot.bindings.iter().position(same);
                if let Some(stored) = stored.map(|stored| snapshot.bindings.remove(stored)) {
                    let previewed = previewed
                        .iter_mut()
                        .find(|previewed| previewed.id == new.binding.id);
                    previewed.expect("each has its row").id = stored.binding.id;
                    new.binding.id = stored.binding.id;
                    new.binding.standing = stored.binding.standing;
                    new.bound_since = stored.bound_since;
                    new.paused = stored.paused;
                }
                snapshot.bindings.push(new);
            }
            let guards = self.settings.guards.clone();
            let circumstances = self.circumstances().await?;
            let mut plan = planner::plan(&Input::new(snapshot, seen, guards, circumstances));
            for previewed in &mut previewed {
                previewed.status = plan.statuses.remove(&previewed.id).or(previewed.status.take());
            }
            // What others have in a group is not for everybody's eyes.
            if self.sees_whole(principal, &plan.target_group).await? {
                plans.push(plan);
            }
        }
        Ok(Preview {
            objects: previewed,
            plans,
            managed: None,
        })
    }

    pub(crate) async fn circumstances(&self) -> Result<Circumstances, Error> {
        Ok(Circumstances {
            // Whose turn it is to write is the loop's affair.
            fenced_until: None,
            frozen: planner::is_frozen(&self.store.fleet().await?, &self.settings.guards),
        })
    }

    /// All that is stored about a group, and what AWS said last.
    pub(crate) async fn known(&self, arn: &TargetGroupArn) -> Result<(GroupSnapshot, Seen), Error> {
        let snapshot = self.store.group(arn, self.settings.guards.window * 2).await?;
        let observation = self.store.observation(arn).await?;
        let seen = observation.map_or_else(Seen::default, |observation| Seen {
            facts: observation.facts,
            targets: observation.targets,
            ..Seen::default()
        });
        Ok((snapshot, seen))
    }

    /// What would be done now, on what is stored: AWS is not asked, and what it said may be out of date. Of a managed group
    /// itself: what its writer saw to be done last.
    pub async fn preview_plan(&self, principal: &Principal, target_group: &Name) -> Result<Preview, Error> {
        principal.read("preview plans")?;
        let group = self.whole_target_group(principal, target_group).await?;
        let plans = match &group.arn {
            Some(arn) => vec![planner::plan(&self.input(arn).await?)],
            None => Vec::new(),
        };
        Ok(Preview {
            objects: Vec::new(),
            plans,
            managed: group.managed,
        })
    }

    /// What a plan is made from now, on what is stored.
    pub(crate) async fn input(&self, arn: &TargetGroupArn) -> Result<Input, Error> {
        let (snapshot, seen) = self.known(arn).await?;
        Ok(Input::new(
            snapshot,
            seen,
            self.settings.guards.clone(),
            self.circumstances().await?,
        ))
    }
}
