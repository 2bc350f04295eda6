//! Bindings as rows, and reading them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{
    BindingId, ClusterId, HoldId, Name, TargetGroupArn,
    binding::{Binding, BindingSpec, Lifecycle, Origin},
    condition::{BindingStatus, Problem},
    fact::{ObjectName, ObjectVersion},
    ownership::Marks,
    scope::Scope,
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store,
    database::transaction,
    ingest, lease,
    row::{self, Row, to_json, to_word},
    status, wake,
};

/// A binding with its text and what was reported about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBinding {
    pub binding: Binding,
    pub cluster_name: Name,
    /// The text as it came.
    pub source: Value,
    /// `None` for a binding declared by API.
    pub object_version: Option<ObjectVersion>,
    pub created_at: Timestamp,
    pub status: Option<BindingStatus>,
    pub status_changed_at: Option<Timestamp>,
    /// What tells who acts on the object; `None`: not stated.
    pub marks: Option<Marks>,
    /// When an operator last took it over.
    pub adopted_at: Option<Timestamp>,
}

/// Which bindings; what is not given is not asked for.
#[derive(Clone, Debug, Default)]
pub struct BindingFilter {
    pub cluster: Option<ClusterId>,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub target_group: Option<TargetGroupArn>,
    pub origin: Option<Origin>,
    /// Only those with a problem in their text.
    pub in_error: bool,
    /// Only those in these places.
    pub scope: Option<Scope>,
}

/// The columns that make a [`Binding`].
pub(crate) struct BindingColumns {
    pub(crate) id: Uuid,
    pub(crate) cluster_id: Uuid,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) origin: String,
    pub(crate) generation: i64,
    pub(crate) spec: Option<Value>,
    pub(crate) problem: Option<Value>,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) hold_id: Option<Uuid>,
    pub(crate) relinquished: bool,
    pub(crate) version: i64,
    pub(crate) standing: String,
}

impl TryFrom<BindingColumns> for Binding {
    type Error = Error;

    fn try_from(row: BindingColumns) -> Result<Self> {
        let at = Row::new("bindings", &row.id);
        let lifecycle = match (row.deleted_at, row.hold_id) {
            (None, None) => Lifecycle::Active,
            (Some(at), _) if row.relinquished => Lifecycle::Relinquished { at },
            (Some(at), None) => Lifecycle::Deleted { at },
            (Some(at), Some(hold)) => Lifecycle::DeletionHeld {
                at,
                hold: HoldId(hold),
            },
            (None, Some(hold)) => return Err(at.inconsistent("hold_id", &hold)),
        };
        Ok(Self {
            id: BindingId(row.id),
            cluster: ClusterId(row.cluster_id),
            object: ObjectName::new(row.namespace, row.name),
            origin: at.word("origin", &row.origin)?,
            generation: row.generation,
            lifecycle,
            standing: at.word("standing", &row.standing)?,
            spec: row.spec.map(|spec| at.json("spec", spec)).transpose()?,
            problem: row
                .problem
                .map(|problem| at.json("problem", problem))
                .transpose()?,
            version: row.version,
        })
    }
}

struct BindingRow {
    id: Uuid,
    cluster_id: Uuid,
    cluster_name: String,
    namespace: String,
    name: String,
    origin: String,
    object_uid: Option<Uuid>,
    resource_version: Option<i64>,
    generation: i64,
    source: Value,
    spec: Option<Value>,
    problem: Option<Value>,
    deleted_at: Option<SqlTimestamp>,
    hold_id: Option<Uuid>,
    relinquished: bool,
    version: i64,
    standing: String,
    marks: Option<Value>,
    adopted_at: Option<SqlTimestamp>,
    created_at: SqlTimestamp,
    status: Option<Value>,
    status_changed_at: Option<SqlTimestamp>,
}

impl TryFrom<BindingRow> for StoredBinding {
    type Error = Error;

    fn try_from(row: BindingRow) -> Result<Self> {
        let at = Row::new("bindings", &row.id);
        let object_version = match (row.object_uid, row.resource_version) {
            (Some(uid), Some(version)) => Some(ObjectVersion {
                uid,
                resource_version: at.number("resource_version", version)?,
            }),
            _ => None,
        };
        Ok(Self {
            cluster_name: Row::new("clusters", &row.cluster_id).text("name", &row.cluster_name)?,
            source: row.source,
            object_version,
            created_at: row.created_at.to_jiff(),
            status: row
                .status
                .map(|status| Row::new("statuses", &row.id).json("body", status))
                .transpose()?,
            status_changed_at: row.status_changed_at.map(SqlTimestamp::to_jiff),
            marks: row.marks.map(|marks| at.json("marks", marks)).transpose()?,
            adopted_at: row.adopted_at.map(SqlTimestamp::to_jiff),
            binding: BindingColumns {
                id: row.id,
                cluster_id: row.cluster_id,
                namespace: row.namespace,
                name: row.name,
                origin: row.origin,
                generation: row.generation,
                spec: row.spec,
                problem: row.problem,
                deleted_at: row.deleted_at.map(SqlTimestamp::to_jiff),
                hold_id: row.hold_id,
                relinquished: row.relinquished,
                version: row.version,
                standing: row.standing,
            }
            .try_into()?,
        })
    }
}

impl Store {
    pub async fn binding(&self, id: BindingId) -> Result<Option<StoredBinding>> {
        let query = sqlx::query_as!(
            BindingRow,
            r#"
            select b.id, b.cluster_id, c.name as cluster_name, b.namespace, b.name, b.origin, b.object_uid,
                b.resource_version, b.generation, b.source, b.spec, b.problem, b.deleted_at as "deleted_at: SqlTimestamp",
                b.hold_id, b.relinquished, b.version, b.standing, b.marks, b.adopted_at as "adopted_at: SqlTimestamp",
                b.created_at as "created_at: SqlTimestamp", s.body as "status?",
                s.changed_at as "status_changed_at?: SqlTimestamp"
            from bindings b join clusters c on c.id = b.cluster_id left join statuses s on s.binding_id = b.id
            where b.id = $1
            "#,
            id.0,
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// By id; `after` = the last id of the page before. Deleted ones are listed until their targets are gone.
    pub async fn bindings(
        &self,
        filter: &BindingFilter,
        after: Option<BindingId>,
        limit: u32,
    ) -> Result<Vec<StoredBinding>> {
        let BindingFilter {
            cluster,
            namespace,
            name,
            target_group,
            origin,
            in_error,
            scope,
        } = filter;
        let (clusters, namespaces) = row::places(scope.as_ref()).unzip();
        let query = sqlx::query_as!(
            BindingRow,
            r#"
            select b.id, b.cluster_id, c.name as cluster_name, b.namespace, b.name, b.origin, b.object_uid,
                b.resource_version, b.generation, b.source, b.spec, b.problem, b.deleted_at as "deleted_at: SqlTimestamp",
                b.hold_id, b.relinquished, b.version, b.standing, b.marks, b.adopted_at as "adopted_at: SqlTimestamp",
                b.created_at as "created_at: SqlTimestamp", s.body as "status?",
                s.changed_at as "status_changed_at?: SqlTimestamp"
            from bindings b join clusters c on c.id = b.cluster_id left join statuses s on s.binding_id = b.id
            where ($1::uuid is null or b.cluster_id = $1)
                and ($2::text is null or b.namespace = $2)
                and ($3::text is null or b.name = $3)
                and ($4::text is null or b.target_group_arn = $4)
                and ($5::text is null or b.origin = $5)
                and (not $6 or b.problem is not null)
                and ($7::uuid is null or b.id > $7)
                and ($9::text[] is null or exists (
                    select from unnest($9::text[], $10::text[]) as place (cluster, namespace)
                    where place.cluster = c.name and (place.namespace is null or place.namespace = b.namespace)
                ))
            order by b.id limit $8
            "#,
            cluster.map(|cluster| cluster.0),
            namespace.as_deref(),
            name.as_deref(),
            target_group.as_ref().map(ToString::to_string),
            origin.as_ref().map(to_word),
            *in_error,
            after.map(|id| id.0),
            row::limit(limit),
            clusters.as_deref(),
            namespaces.as_deref() as Option<&[Option<String>]>,
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    /// Judges a text anew because something beside it changed, e.g. the group that it names was declared. `false`: the
    /// binding is no longer of that version, or the verdict is what it was.
    pub async fn rejudge(
        &self,
        id: BindingId,
        of_version: i64,
        verdict: &std::result::Result<BindingSpec, Problem>,
    ) -> Result<bool> {
        transaction!(self, Op::Rejudge, |tx| {
            let Some(cluster) = sqlx::query_scalar!("select cluster_id from bindings where id = $1", id.0)
                .fetch_optional(&mut *tx)
                .await?
                .map(ClusterId)
            else {
                return Ok(false);
            };
            crate::cluster::lock(tx, cluster).await?;
            let Some(row) = sqlx::query!(
                "select spec, problem from bindings where id = $1 and version = $2 and deleted_at is null",
                id.0,
                of_version,
            )
            .fetch_optional(&mut *tx)
            .await?
            else {
                return Ok(false);
            };
            let at = Row::new("bindings", &id);
            let before: (Option<BindingSpec>, Option<Problem>) = (
                row.spec.map(|spec| at.json("spec", spec)).transpose()?,
                row.problem
                    .map(|problem| at.json("problem", problem))
                    .transpose()?,
            );
            let after = ingest::judge(before.0.as_ref(), verdict);
            if before == after {
                return Ok(false);
            }
            write_verdict(tx, id, after.0.as_ref(), after.1.as_ref()).await?;
            ingest::sync_services(tx, cluster).await?;
            status::report_unbound(tx, cluster).await?;
            let arns = [&before.0, &after.0]
                .into_iter()
                .flatten()
                .map(|spec| spec.target_group.to_string());
            wake::groups(tx, arns).await?;
            wake::cluster(tx, cluster).await?;
            Ok(true)
        })
        .await
    }

    /// Forgets the group's deleted bindings whose targets have all gone. Only the writer of the group may, in between
    /// its plans: it alone knows that no registration for them is about to be intended.
    pub async fn finish_bindings(&self, fence: &lease::Fence, arn: &TargetGroupArn) -> Result<u64> {
        transaction!(self, Op::FinishBindings, |tx| {
            let name = arn.to_string();
            let leaving = sqlx::query_scalar!(
                r#"
                select exists (
                    select from bindings where target_group_arn = $1 and deleted_at is not null
                ) as "leaving!"
                "#,
                name,
            )
            .fetch_one(&mut *tx)
            .await?;
            if !leaving {
                return Ok(0);
            }
            lease::check_group(tx, fence, arn).await?;
            let clusters = sqlx::query_scalar!(
                r#"
                select id from clusters
                where id in (select cluster_id from bindings where target_group_arn = $1 and deleted_at is not null)
                order by id for no key update
                "#,
                name,
            )
            .fetch_all(&mut *tx)
            .await?;
            // A binding's openings go with it, or wait for the writer of their group: whoever reads them below sees the state
            // before.
            let finished = sqlx::query!(
                r#"
                with finished as (
                    delete from bindings b
                    where target_group_arn = $1 and deleted_at is not null
                        and not exists (
                            select from ledger_targets l where l.target_group_arn = $1 and b.id = any(l.bindings)
                        )
                        -- Its rules stay: first they cease to be ours.
                        and not (
                            (relinquished or standing not in ('served', 'contested'))
                            and exists (select from openings o where o.binding_id = b.id)
                        )
                    returning id
                )
                select f.id as "id?", o.shard as "shard?", o.security_group_id as "security_group_id?"
                from finished f left join openings o on o.binding_id = f.id
                union all
                -- Those that wait until the writer of their security group has given their rules up.
                select null::uuid, o.shard, o.security_group_id
                from openings o join bindings b on b.id = o.binding_id
                where b.target_group_arn = $1 and b.deleted_at is not null and b.hold_id is null
                    and (b.relinquished or b.standing not in ('served', 'contested'))
                "#,
                name,
            )
            .fetch_all(&mut *tx)
            .await?;
            let closed: BTreeSet<_> = finished
                .iter()
                .filter_map(|row| Some((row.shard.as_deref()?, row.security_group_id.as_deref()?)))
                .collect();
            wake::security_groups(tx, closed).await?;
            let finished: BTreeSet<_> = finished.iter().filter_map(|row| row.id).collect();
            if !finished.is_empty() {
                for cluster in clusters.into_iter().map(ClusterId) {
                    crate::hold::refresh(tx, cluster).await?;
                    ingest::sync_services(tx, cluster).await?;
                    crate::cluster::forget_left(tx, cluster).await?;
                    wake::cluster(tx, cluster).await?;
                }
            }
            Ok(finished.len() as u64)
        })
        .await
    }
}

async fn write_verdict(
    connection: &mut PgConnection,
    id: BindingId,
    spec: Option<&BindingSpec>,
    problem: Option<&Problem>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update bindings set spec = $2, problem = $3, target_group_arn = $4, service = $5, version = version + 1
        where id = $1
        "#,
        id.0,
        spec.map(to_json),
        problem.map(to_json),
        spec.map(|spec| spec.target_group.to_string()),
        spec.map(|spec| spec.service.as_str()),
    )
    .execute(connection)
    .await?;
    Ok(())
}
