//! Bindings: those of objects to be read, those of the API to be declared.

use std::time::Duration;

use model::{
    BindingId, ClusterId, Name, TargetGroupArn,
    binding::{Binding, BindingSpec, Lifecycle, Origin, PortRef},
    cluster::{Cluster, ClusterSpec},
    condition::{Problem, Reason, Truth},
    fact::ObjectName,
    ownership::Standing,
};
use serde_json::{Value, json};
use store::{BindingFilter, DeclaredGroup, Put, StoredBinding};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{Control, Error, Listing, Page, Principal, Write, Written, text, view::BindingView};

/// A name is taken by at most a few bindings: one of each origin, and deleted ones whose targets are going.
const NAMESAKES: u32 = 100;

/// Where a binding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingName {
    pub cluster: Name,
    /// The namespace of the Service, and the binding's name.
    pub object: ObjectName,
}

/// The target group that a binding is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRef {
    Arn(TargetGroupArn),
    /// The name by which it is declared.
    Name(Name),
}

/// What is declared by API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSpec {
    pub target_group: GroupRef,
    pub service: String,
    pub port: PortRef,
}

impl ApiSpec {
    /// The text that `translate` reads: both origins are compiled by one rule.
    fn source(&self, cluster: &ClusterSpec) -> Value {
        let Self {
            target_group,
            service,
            port,
        } = self;
        let port = match port {
            PortRef::Number(number) => json!(number),
            PortRef::Name(name) => json!(name),
        };
        let mut source = json!({ "serviceRef": { "name": service, "port": port } });
        match target_group {
            GroupRef::Arn(arn) => with_arn(&source, arn, cluster),
            GroupRef::Name(name) => {
                source[BY_NAME] = json!(name);
                source
            }
        }
    }

    /// What a stored text declares.
    fn of(source: &Value) -> Option<Self> {
        let target_group = match group_name(source) {
            Some(name) => GroupRef::Name(name),
            None => GroupRef::Arn(source["targetGroupARN"].as_str()?.parse().ok()?),
        };
        let service_ref = &source["serviceRef"];
        Some(Self {
            target_group,
            service: service_ref["name"].as_str()?.to_owned(),
            port: match &service_ref["port"] {
                Value::String(name) => PortRef::Name(name.clone()),
                number => PortRef::Number(number.as_u64()?.try_into().ok()?),
            },
        })
    }
}

/// The field of a stored text that names a declared target group. No object has it.
const BY_NAME: &str = "targetGroup";

/// The name by which a text that was declared by API refers to its target group, if it does.
pub(crate) fn group_name(source: &Value) -> Option<Name> {
    source.get(BY_NAME)?.as_str()?.parse().ok()
}

/// The text of a binding to this group. One of another account is reached as an object would reach it: by the role that the
/// cluster has for it.
pub(crate) fn with_arn(source: &Value, arn: &TargetGroupArn, cluster: &ClusterSpec) -> Value {
    let mut source = source.clone();
    if let Some(fields) = source.as_object_mut() {
        fields.remove(BY_NAME);
    }
    source["targetGroupARN"] = json!(arn);
    let account = &arn.shard().account;
    let role = cluster.roles.iter().find(|role| role.arn.account() == account);
    if let Some(role) = role.filter(|_| *account != cluster.account) {
        source["iamRoleArnToAssume"] = json!(role.arn);
        source["assumeRoleExternalId"] = json!(role.external_id);
    }
    source
}

impl Control {
    /// By id. Deleted ones are listed until their targets are gone.
    pub async fn list_bindings(
        &self,
        principal: &Principal,
        cluster: Option<&Name>,
        page: &Page,
    ) -> Result<Listing<BindingView>, Error> {
        principal.read("list bindings")?;
        if let Some(cluster) = cluster {
            principal.read_of("list bindings", cluster)?;
        }
        let cluster = match cluster {
            Some(name) => Some(self.cluster(name).await?.cluster.id),
            None => None,
        };
        let filter = BindingFilter {
            cluster,
            scope: principal.scope.clone(),
            ..BindingFilter::default()
        };
        let bindings = self
            .store
            .bindings(&filter, page.after::<BindingId>()?, page.rows())
            .await?;
        Ok(page
            .cut(bindings, |stored| stored.binding.id.to_string())
            .map(Into::into))
    }

    /// A binding; with `wait`, when it is ready or the time is over. Without an origin, the object's goes first.
    pub async fn get_binding(
        &self,
        principal: &Principal,
        name: &BindingName,
        origin: Option<Origin>,
        wait: Duration,
    ) -> Result<BindingView, Error> {
        principal.read_in("read bindings", &name.cluster, &name.object.namespace)?;
        text::object_name(&name.object)?;
        let cluster = self.cluster(&name.cluster).await?.cluster.id;
        // From before the first look, so that no change is missed.
        let mut wakes = self.wakes.subscribe(cluster);
        let deadline = Instant::now() + wait;
        loop {
            wakes.mark_unchanged();
            let found = self.find_binding(cluster, &name.object, origin).await?;
            let binding = found.ok_or_else(|| Error::not_found("binding", &name.object))?;
            let ready = binding
                .status
                .as_ref()
                .is_some_and(|status| status.ready.status == Truth::True);
            if ready || Instant::now() >= deadline {
                return Ok(binding.into());
            }
            // Woken or late: either way it is looked at again. A lost wake costs one poll.
            let look_again = deadline.min(Instant::now() + self.settings.poll);
            timeout_at(look_again, wakes.changed()).await.ok();
        }
    }

    /// Declares a binding or changes one that was declared here. One to a managed group that AWS has not made yet waits for
    /// it.
    pub async fn put_binding(
        &self,
        principal: &Principal,
        name: &BindingName,
        spec: ApiSpec,
        write: Write,
    ) -> Result<Written<BindingView>, Error> {
        let actor = principal.write_in("declare bindings", &name.cluster, &name.object.namespace)?;
        text::object_name(&name.object)?;
        text::dns_subdomain("spec.service", &spec.service)?;
        let cluster = self.cluster(&name.cluster).await?.cluster;
        if let GroupRef::Arn(arn) = &spec.target_group {
            self.require_admission(&cluster, &name.object.namespace, arn)
                .await?;
        }
        let source = spec.source(&cluster.spec);
        let compiler = self.compiler(&cluster, [&source].into_iter()).await?;
        let verdict = compiler.compile_declared(&name.object.namespace, &source);
        if let Err(problem) = &verdict
            && problem.reason != Reason::TargetGroupPending
        {
            return Err(Error::Invalid {
                field: problem.field.as_deref().map(api_field),
                message: problem.message.clone(),
            });
        }
        let stored = self.active_api_binding(cluster.id, &name.object).await?;
        write
            .expected
            .check(stored.as_ref().map(|stored| stored.binding.version))?;
        if write.dry_run {
            return would_be(stored, cluster.id, name, spec, verdict);
        }
        let expected = write.expected.version();
        let put = self
            .store
            .put_binding(actor, cluster.id, &name.object, &source, &verdict, expected)
            .await?;
        if let (Err(_), GroupRef::Name(group)) = (&verdict, &spec.target_group)
            && let Some(DeclaredGroup { arn: Some(_), .. }) = self.store.declared_group(group).await?
        {
            // AWS has named it since, and whoever was to be told may not have seen this binding.
            self.recompile(&cluster).await?;
        }
        let created = matches!(put, Put::Created(_));
        let id = put.into_inner().id;
        let stored = self
            .store
            .binding(id)
            .await?
            .ok_or_else(|| Error::not_found("binding", &name.object))?;
        Ok(Written {
            created,
            value: stored.into(),
        })
    }

    /// Deletes a binding that was declared here. Its targets are deregistered. The answer is what it was.
    pub async fn delete_binding(
        &self,
        principal: &Principal,
        name: &BindingName,
        write: Write,
    ) -> Result<BindingView, Error> {
        let actor = principal.write_in("delete bindings", &name.cluster, &name.object.namespace)?;
        text::object_name(&name.object)?;
        let cluster = self.cluster(&name.cluster).await?.cluster;
        let Some(stored) = self.active_api_binding(cluster.id, &name.object).await? else {
            return Err(self.not_declared_here(cluster.id, &name.object).await?);
        };
        write.expected.check(Some(stored.binding.version))?;
        if !write.dry_run {
            self.store
                .delete_binding(actor, cluster.id, &name.object, write.expected.version())
                .await?;
        }
        Ok(stored.into())
    }

    /// The binding of this name; of two, the object's.
    pub(crate) async fn named_binding(&self, name: &BindingName) -> Result<StoredBinding, Error> {
        text::object_name(&name.object)?;
        let cluster = self.cluster(&name.cluster).await?.cluster.id;
        let found = self.find_binding(cluster, &name.object, None).await?;
        found.ok_or_else(|| Error::not_found("binding", &name.object))
    }

    pub(crate) async fn find_binding(
        &self,
        cluster: ClusterId,
        object: &ObjectName,
        origin: Option<Origin>,
    ) -> Result<Option<StoredBinding>, Error> {
        let filter = BindingFilter {
            cluster: Some(cluster),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            origin,
            ..BindingFilter::default()
        };
        let found = self.store.bindings(&filter, None, NAMESAKES).await?;
        Ok(found.into_iter().min_by_key(|stored| {
            (
                stored.binding.lifecycle != Lifecycle::Active,
                stored.binding.origin != Origin::Object,
            )
        }))
    }

    async fn active_api_binding(
        &self,
        cluster: ClusterId,
        object: &ObjectName,
    ) -> Result<Option<StoredBinding>, Error> {
        let found = self.find_binding(cluster, object, Some(Origin::Api)).await?;
        Ok(found.filter(|stored| stored.binding.lifecycle == Lifecycle::Active))
    }

    async fn not_declared_here(&self, cluster: ClusterId, object: &ObjectName) -> Result<Error, Error> {
        Ok(
            match self.find_binding(cluster, object, Some(Origin::Object)).await? {
                Some(_) => Error::Conflict(format!(
                    "binding `{object}` is a TargetGroupBinding object: delete it in its cluster"
                )),
                None => Error::not_found("binding", object),
            },
        )
    }

    /// Told at once to a portal, where an object would show it as its condition.
    async fn require_admission(
        &self,
        cluster: &Cluster,
        namespace: &str,
        arn: &TargetGroupArn,
    ) -> Result<(), Error> {
        let field = "spec.targetGroupArn";
        let Some(group) = self.store.target_group_by_arn(arn).await? else {
            if cluster.spec.bind_undeclared && *arn.shard() == cluster.spec.shard() {
                return Ok(());
            }
            let message = format!(
                "no declared target group has the ARN {arn}: declare it with PUT /v1/target-groups/NAME"
            );
            return Err(Error::at(field, message));
        };
        if group.spec.admits(&cluster.name, namespace) {
            return Ok(());
        }
        let message = format!(
            "the target group does not admit namespace `{namespace}` of cluster `{}`: have its owner add the cluster to \
             spec.clusters, or the namespace to spec.grants",
            cluster.name
        );
        Err(Error::at(field, message))
    }
}

/// The field of the API's form for a field of the object's.
fn api_field(field: &str) -> String {
    match field {
        "spec.targetGroupARN" => "spec.targetGroupArn".to_owned(),
        "spec.serviceRef.name" => "spec.service".to_owned(),
        "spec.serviceRef.port" => "spec.port".to_owned(),
        other => other.to_owned(),
    }
}

/// What a PUT would answer, decided as the store would.
fn would_be(
    stored: Option<StoredBinding>,
    cluster: ClusterId,
    name: &BindingName,
    declared: ApiSpec,
    verdict: Result<BindingSpec, Problem>,
) -> Result<Written<BindingView>, Error> {
    let target_group = verdict.as_ref().ok().map(|spec| spec.target_group.clone());
    let (spec, problem) = match verdict {
        Ok(spec) => (Some(spec), None),
        Err(problem) => (None, Some(problem)),
    };
    let Some(stored) = stored else {
        let binding = Binding {
            id: BindingId(Uuid::nil()),
            cluster,
            object: name.object.clone(),
            origin: Origin::Api,
            generation: 1,
            lifecycle: Lifecycle::Active,
            standing: Standing::Served,
            spec,
            problem,
            version: 1,
        };
        let value = BindingView {
            cluster: name.cluster.clone(),
            binding,
            declared: Some(declared),
            created_at: None,
            status: None,
        };
        return Ok(Written { created: true, value });
    };
    if let Some(before) = stored
        .binding
        .spec
        .as_ref()
        .filter(|before| target_group.as_ref() != Some(&before.target_group))
    {
        let message = format!(
            "binding `{}` is to {} and cannot become one to another target group: delete it and declare it anew",
            name.object, before.target_group
        );
        return Err(Error::Conflict(message));
    }
    let mut value = BindingView::from(stored);
    if value.binding.spec != spec || value.declared.as_ref() != Some(&declared) {
        value.binding.spec = spec;
        value.binding.problem = problem;
        value.binding.version += 1;
        value.declared = Some(declared);
    }
    Ok(Written {
        created: false,
        value,
    })
}

impl From<StoredBinding> for BindingView {
    fn from(stored: StoredBinding) -> Self {
        let StoredBinding {
            binding,
            cluster_name,
            source,
            object_version: _,
            created_at,
            status,
            status_changed_at: _,
            marks: _,
            adopted_at: _,
        } = stored;
        let declared = match binding.origin {
            Origin::Api => ApiSpec::of(&source),
            Origin::Object => None,
        };
        Self {
            cluster: cluster_name,
            binding,
            declared,
            created_at: Some(created_at),
            status,
        }
    }
}
