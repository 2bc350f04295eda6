//! Declarations of managed target groups, and what their writers say of them. What was made for them is recorded by
//! `ledger/groups.rs`.

use model::{
    Name, Observed, Shard, TargetGroupArn,
    managed::{
        Definition, DefinitionSpec, Ending, GroupState, GroupStatus, LedgerGroup, ManagedSnapshot,
        ManagedSpec, ObservedGroup,
    },
    scope::Scope,
    target_group::{Grant, TargetGroup, TargetGroupSpec},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    Error, Op, Put, Result, Store, audit,
    database::transaction,
    lease::{self, Fence},
    ledger::GroupRow,
    row::{self, Row, to_json, to_word},
    target_group, version, wake,
};

/// A declared group: somebody else's, or managed.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredGroup {
    pub name: Name,
    /// `None`: AWS has not named it yet.
    pub arn: Option<TargetGroupArn>,
    pub clusters: Vec<Name>,
    pub grants: Vec<Grant>,
    pub version: i64,
    /// How many targets of ours are in it, by the ledger.
    pub registered: u32,
    pub managed: Option<ManagedState>,
}

/// How a managed group stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagedState {
    pub spec: ManagedSpec,
    /// The group that it takes over.
    pub adopts: Option<TargetGroupArn>,
    pub ending: Option<Ending>,
    /// `None`: nothing in AWS is ours yet.
    pub state: Option<GroupState>,
    /// `None`: not looked at yet.
    pub status: Option<GroupStatus>,
    pub observed: Observed<ObservedGroup>,
}

struct DeclaredRow {
    name: String,
    version: i64,
    registered: i64,
    declared: Option<Value>,
    managed: Option<Value>,
    arn: Option<String>,
    ending: Option<String>,
    state: Option<String>,
    status: Option<Value>,
    observed: Option<Value>,
}

impl From<TargetGroup> for DeclaredGroup {
    fn from(group: TargetGroup) -> Self {
        let TargetGroup { name, spec, version } = group;
        let TargetGroupSpec {
            arn,
            clusters,
            grants,
        } = spec;
        Self {
            name,
            arn: Some(arn),
            clusters,
            grants,
            version,
            registered: 0,
            managed: None,
        }
    }
}

impl TryFrom<DeclaredRow> for DeclaredGroup {
    type Error = Error;

    fn try_from(row: DeclaredRow) -> Result<Self> {
        let at = Row::new("managed_groups", &row.name);
        let name: Name = at.text("name", &row.name)?;
        let arn = row.arn.map(|arn| at.text("arn", &arn)).transpose()?;
        let registered = u32::try_from(row.registered).unwrap_or(u32::MAX);
        let Some(managed) = row.managed else {
            let at = Row::new("target_groups", &row.name);
            let spec = at.json("spec", row.declared.unwrap_or_default())?;
            let version = row.version;
            let group = Self::from(TargetGroup { name, spec, version });
            return Ok(Self { registered, ..group });
        };
        let DefinitionSpec {
            managed: spec,
            arn: adopts,
            clusters,
            grants,
        } = at.json("spec", managed)?;
        let observed = row.observed.map(|observed| at.json("observed", observed));
        Ok(Self {
            name,
            arn,
            clusters,
            grants,
            version: row.version,
            registered,
            managed: Some(ManagedState {
                spec,
                adopts,
                ending: row.ending.map(|word| at.word("ending", &word)).transpose()?,
                state: row.state.map(|word| at.word("state", &word)).transpose()?,
                status: row.status.map(|status| at.json("status", status)).transpose()?,
                observed: observed.transpose()?.unwrap_or_default(),
            }),
        })
    }
}

#[derive(Deserialize)]
struct SnapshotRow {
    now: jiff::Timestamp,
    installation: Uuid,
    spec: Value,
    version: i64,
    declared_at: jiff::Timestamp,
    ending: Option<Ending>,
    ledger: Option<GroupRow>,
    bindings: u32,
    targets: u32,
    modes: Vec<model::cluster::Mode>,
    paused: Option<model::pause::Pause>,
    restored: bool,
}

impl Store {
    /// A declared group by its name.
    pub async fn declared_group(&self, name: &Name) -> Result<Option<DeclaredGroup>> {
        self.measured(Op::Query, declared(&self.pool, name)).await
    }

    /// Those that somebody in `scope` may use, by name; `after` = the last name of the page before.
    pub async fn declared_groups(
        &self,
        scope: Option<&Scope>,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<DeclaredGroup>> {
        let (clusters, namespaces) = row::places(scope).unzip();
        let query = sqlx::query_as!(
            DeclaredRow,
            r#"
            select name as "name!", version as "version!", declared as "declared?", managed as "managed?", arn as "arn?",
                ending as "ending?", state as "state?", status as "status?", observed as "observed?",
                (
                    select count(*) from ledger_targets l where l.target_group_arn = known.arn and l.state = 'registered'
                ) as "registered!"
            from (
                select coalesce(m.name, t.name) as name, coalesce(m.version, t.version) as version,
                    t.spec as declared, m.spec as managed, coalesce(l.arn, t.arn) as arn, m.ending, l.state, m.status,
                    m.observed, coalesce(m.spec, t.spec) as spec
                from target_groups t full join managed_groups m on m.name = t.name
                left join ledger_resources l on l.kind = 'targetGroup' and l.name = m.name
            ) known
            where ($1::text is null or name > $1) and ($3::text[] is null or exists (
                select from unnest($3::text[], $4::text[]) as place (cluster, namespace)
                where spec -> 'clusters' ? place.cluster or exists (
                    select from jsonb_to_recordset(spec -> 'grants') as granted (cluster text, namespaces jsonb)
                    where granted.cluster = place.cluster
                        and (place.namespace is null or granted.namespaces ? place.namespace)
                )
            ))
            order by name limit $2
            "#,
            after.map(Name::as_str),
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

    /// Declares a managed group or changes it. What AWS cannot change stays; a group that was declared as somebody else's
    /// is taken over if `spec.arn` is its ARN.
    pub async fn put_managed_group(
        &self,
        actor: &str,
        name: &Name,
        spec: &DefinitionSpec,
        expected: Option<i64>,
    ) -> Result<Put<Definition>> {
        transaction!(self, Op::Declare, |tx| {
            put(tx, actor, name, spec, expected).await
        })
        .await
    }

    /// What [`put_managed_group`](Self::put_managed_group) would come to: it is done and undone.
    pub async fn try_managed_group(
        &self,
        actor: &str,
        name: &Name,
        spec: &DefinitionSpec,
        expected: Option<i64>,
    ) -> Result<(DeclaredGroup, ManagedSnapshot)> {
        transaction!(self, Op::Declare, |tx| {
            let mut trial = tx.begin().await?;
            let put = put(&mut trial, actor, name, spec, expected).await?;
            let shard = put.into_inner().spec.managed.shard();
            let group = declared(&mut *trial, name).await?;
            let snapshot = snapshot(&mut *trial, &shard, name).await?;
            trial.rollback().await?;
            let gone = || Error::not_found("target group", name);
            Ok((group.ok_or_else(gone)?, snapshot.ok_or_else(gone)?))
        })
        .await
    }

    /// Gives a managed group up: it stays in AWS and is declared as somebody else's from now on.
    pub async fn release_managed_group(
        &self,
        actor: &str,
        name: &Name,
        spec: &TargetGroupSpec,
        expected: Option<i64>,
        dry_run: bool,
    ) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            let Some(definition) = for_update(tx, name).await? else {
                return Err(Error::not_found("target group", name));
            };
            version::check(expected, Some(definition.version))?;
            let declared = target_group::for_update(tx, name).await?;
            let arn = declared.as_ref().map(|group| &group.spec.arn);
            if arn != Some(&spec.arn) || definition.ending.is_some() {
                return Err(Error::Constraint(format!(
                    "target group `{name}` is {} and cannot become {}: declare the other one by another name",
                    arn.map_or_else(|| "not there yet".to_owned(), ToString::to_string),
                    spec.arn
                )));
            }
            if dry_run {
                return Ok(());
            }
            declare(tx, name, spec, definition.version + 1).await?;
            end(tx, &definition, Ending::Release).await?;
            let before = Some(to_json(&definition.spec));
            audit::append(
                tx,
                actor,
                "targetGroup.release",
                name.as_str(),
                before,
                Some(to_json(spec)),
            )
            .await
        })
        .await
    }

    /// Ends a managed group that nothing uses: its declaration goes at once, and what is in AWS as `ending` says.
    pub async fn end_managed_group(
        &self,
        actor: &str,
        name: &Name,
        ending: Ending,
        expected: Option<i64>,
        dry_run: bool,
    ) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            let Some(definition) = for_update(tx, name).await? else {
                return Err(Error::not_found("target group", name));
            };
            version::check(expected, Some(definition.version))?;
            if ending == Ending::Delete && definition.spec.managed.deletion_protection {
                return Err(Error::Constraint(format!(
                    "target group `{name}` is protected: declare it with spec.managed.deletionProtection: false first, or \
                     let it go with inAws=keep"
                )));
            }
            refuse_awaited(tx, name).await?;
            let group = target_group::for_update(tx, name).await?;
            if let Some(group) = &group {
                target_group::refuse_used(tx, name, &group.spec.arn).await?;
            }
            if dry_run {
                return Ok(());
            }
            if let Some(group) = &group {
                target_group::forget(tx, group).await?;
            }
            end(tx, &definition, ending).await?;
            let after = json!({ "inAws": ending });
            let before = Some(to_json(&definition.spec));
            audit::append(
                tx,
                actor,
                "targetGroup.delete",
                name.as_str(),
                before,
                Some(after),
            )
            .await
        })
        .await
    }

    /// All that is stored about a managed group of the shard.
    pub async fn managed_group(&self, shard: &Shard, name: &Name) -> Result<Option<ManagedSnapshot>> {
        self.measured(Op::Gather, snapshot(&self.pool, shard, name)).await
    }

    /// The managed groups of a shard.
    pub async fn managed_groups(&self, shard: &Shard) -> Result<Vec<Name>> {
        let query = sqlx::query_scalar!(
            "select name from managed_groups where shard = $1 order by name",
            shard.to_string(),
        );
        let names = self.read(Op::Groups, query.fetch_all(&self.pool)).await?;
        names
            .iter()
            .map(|name| Row::new("managed_groups", name).text("name", name))
            .collect()
    }

    /// Stores what became of a group, and what AWS says of it. Both are written only when they changed.
    pub async fn report_managed_group(
        &self,
        fence: &Fence,
        name: &Name,
        status: &GroupStatus,
        observed: &Observed<ObservedGroup>,
    ) -> Result<()> {
        transaction!(self, Op::Report, |tx| {
            lease::check(tx, fence).await?;
            sqlx::query!(
                "update managed_groups set status = $3, observed = $4 where name = $1 and shard = $2",
                name.as_str(),
                fence.shard.to_string(),
                to_json(status),
                to_json(observed),
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }

    /// Groups that AWS has named since bindings that refer to them by name were last judged.
    pub async fn unannounced_groups(&self) -> Result<Vec<DefinitionSpec>> {
        let query = sqlx::query!("select name, spec from managed_groups where not announced order by name");
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| Row::new("managed_groups", &row.name).json("spec", row.spec))
            .collect()
    }

    /// Bindings that refer to these groups have been judged anew.
    pub async fn announced_groups(&self, groups: &[DefinitionSpec]) -> Result<()> {
        let names: Vec<_> = groups.iter().map(|spec| spec.managed.name.clone()).collect();
        let shards: Vec<_> = groups
            .iter()
            .map(|spec| spec.managed.shard().to_string())
            .collect();
        transaction!(self, Op::Rejudge, |tx| {
            sqlx::query!(
                r#"
                update managed_groups set announced = true
                where (shard, aws_name) in (select * from unnest($1::text[], $2::text[]))
                "#,
                &shards,
                &names,
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }
}

async fn declared(executor: impl PgExecutor<'_>, name: &Name) -> Result<Option<DeclaredGroup>> {
    let query = sqlx::query_as!(
        DeclaredRow,
        r#"
        select coalesce(m.name, t.name) as "name!", coalesce(m.version, t.version) as "version!",
            t.spec as "declared?", m.spec as "managed?", coalesce(ours.arn, t.arn) as arn, m.ending as "ending?",
            ours.state as "state?", m.status as "status?", m.observed as "observed?",
            (
                select count(*) from ledger_targets l
                where l.target_group_arn = coalesce(ours.arn, t.arn) and l.state = 'registered'
            ) as "registered!"
        from target_groups t full join managed_groups m on m.name = t.name
        left join ledger_resources ours on ours.kind = 'targetGroup' and ours.name = m.name
        where t.name = $1 or m.name = $1
        "#,
        name.as_str(),
    );
    let row = query.fetch_optional(executor).await?;
    row.map(TryInto::try_into).transpose()
}

async fn snapshot(
    executor: impl PgExecutor<'_>,
    shard: &Shard,
    name: &Name,
) -> Result<Option<ManagedSnapshot>> {
    let query = sqlx::query_scalar!(
        r#"
        select jsonb_build_object(
            'now', clock_timestamp(),
            'installation', (select id from installation),
            'spec', m.spec, 'version', m.version, 'declared_at', m.created_at, 'ending', m.ending,
            'ledger', to_jsonb(l),
            'bindings', (select count(*) from bindings where target_group_arn = l.arn),
            'targets', (select count(*) from ledger_targets where target_group_arn = l.arn),
            'modes', coalesce((select jsonb_agg(distinct c.spec ->> 'mode') from clusters c
                where m.spec -> 'clusters' ? c.name or exists (
                    select from jsonb_array_elements(m.spec -> 'grants') as granted
                    where granted ->> 'cluster' = c.name
                )), '[]'),
            'paused', (
                select jsonb_build_object('by', p.paused_by, 'reason', p.reason, 'since', p.at) from pauses p
                left join clusters c on c.id = p.cluster_id
                where num_nonnulls(p.shard, p.cluster_id, p.binding_id) = 0 or p.shard = m.shard
                    or m.spec -> 'clusters' ? c.name or exists (
                        select from jsonb_array_elements(m.spec -> 'grants') as granted
                        where granted ->> 'cluster' = c.name
                    )
                order by num_nonnulls(p.shard, p.cluster_id, p.binding_id), p.at limit 1
            ),
            'restored', exists (select from shards s where s.shard = m.shard and s.restored_at is not null)
        ) as "row!"
        from managed_groups m left join ledger_resources l on l.kind = 'targetGroup' and l.name = m.name
        where m.name = $1 and m.shard = $2
        "#,
        name.as_str(),
        shard.to_string(),
    );
    let row = query.fetch_optional(executor).await?;
    row.map(|row| {
        let at = Row::new("managed_groups", name);
        let row: SnapshotRow = at.json("row", row)?;
        Ok(ManagedSnapshot {
            now: row.now,
            installation: row.installation,
            definition: Definition {
                name: name.clone(),
                spec: at.json("spec", row.spec)?,
                version: row.version,
                ending: row.ending,
            },
            declared_at: row.declared_at,
            ledger: row.ledger.map(LedgerGroup::try_from).transpose()?,
            bindings: row.bindings,
            targets: row.targets,
            modes: row.modes,
            paused: row.paused,
            restored: row.restored,
        })
    })
    .transpose()
}

/// What [`Store::put_managed_group`] does.
async fn put(
    connection: &mut PgConnection,
    actor: &str,
    name: &Name,
    spec: &DefinitionSpec,
    expected: Option<i64>,
) -> Result<Put<Definition>> {
    let stored = for_update(connection, name).await?;
    let declared = target_group::for_update(connection, name).await?;
    let found = stored.as_ref().map(|definition| definition.version);
    version::check(expected, found.or(declared.as_ref().map(|group| group.version)))?;
    let mut spec = spec.clone();
    let version = match (&stored, &declared) {
        (Some(definition), _) if definition.ending.is_some() => {
            return Err(Error::Constraint(format!(
                "target group `{name}` is on its way out: wait until it is gone, and declare it then"
            )));
        }
        (Some(definition), _) => {
            if spec.arn.is_none() {
                spec.arn.clone_from(&definition.spec.arn);
            }
            if definition.spec == spec {
                return Ok(Put::Unchanged(definition.clone()));
            }
            refuse_other(connection, definition, &spec).await?;
            definition.version + 1
        }
        (None, Some(group)) if spec.arn.as_ref() != Some(&group.spec.arn) => {
            return Err(Error::Constraint(format!(
                "target group `{name}` is declared as {}, which somebody else made: to have it taken over, say that \
                 ARN as `spec.arn`; to have one made, declare it by another name",
                group.spec.arn
            )));
        }
        (None, Some(group)) => group.version + 1,
        (None, None) => 1,
    };
    refuse_second(connection, name, &spec).await?;
    lease::ensure_shard(connection, &spec.managed.shard()).await?;
    sqlx::query!(
        r#"
        insert into managed_groups as old (name, shard, aws_name, spec, version) values ($1, $2, $3, $4, $5)
        on conflict (name) do update set spec = excluded.spec, version = excluded.version
        "#,
        name.as_str(),
        spec.managed.shard().to_string(),
        spec.managed.name,
        to_json(&spec),
        version,
    )
    .execute(&mut *connection)
    .await?;
    let arn = spec.arn.clone().or(declared.map(|group| group.spec.arn));
    if let Some(arn) = arn {
        declare(connection, name, &spec.declared(arn), version).await?;
    }
    let before = stored.as_ref().map(|definition| to_json(&definition.spec));
    audit::append(
        connection,
        actor,
        "targetGroup.put",
        name.as_str(),
        before,
        Some(to_json(&spec)),
    )
    .await?;
    wake::managed_group(connection, &spec.managed.shard(), name).await?;
    let definition = Definition {
        name: name.clone(),
        spec,
        version,
        ending: None,
    };
    Ok(match stored {
        None if version == 1 => Put::Created(definition),
        _ => Put::Updated(definition),
    })
}

pub(crate) async fn for_update(connection: &mut PgConnection, name: &Name) -> Result<Option<Definition>> {
    let row = sqlx::query!(
        "select spec, version, ending from managed_groups where name = $1 for update",
        name.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let at = Row::new("managed_groups", name);
        Ok(Definition {
            name: name.clone(),
            spec: at.json("spec", row.spec)?,
            version: row.version,
            ending: row.ending.map(|word| at.word("ending", &word)).transpose()?,
        })
    })
    .transpose()
}

/// The declaration that bindings see, of this version.
pub(crate) async fn declare(
    connection: &mut PgConnection,
    name: &Name,
    spec: &TargetGroupSpec,
    version: i64,
) -> Result<()> {
    sqlx::query!(
        r#"
        insert into target_groups (name, arn, shard, aws_name, spec, version) values ($1, $2, $3, $4, $5, $6)
        on conflict (name) do update set spec = excluded.spec, version = excluded.version
        "#,
        name.as_str(),
        spec.arn.to_string(),
        spec.arn.shard().to_string(),
        spec.arn.name(),
        to_json(spec),
        version,
    )
    .execute(&mut *connection)
    .await?;
    wake::group(connection, &spec.arn).await
}

/// Begins the end. A group of which nothing is ours is at its end at once.
async fn end(connection: &mut PgConnection, definition: &Definition, ending: Ending) -> Result<()> {
    let name = definition.name.as_str();
    let gone = sqlx::query!(
        r#"
        delete from managed_groups where name = $1
            and not exists (select from ledger_resources where kind = 'targetGroup' and name = $1)
        "#,
        name,
    )
    .execute(&mut *connection)
    .await?;
    if gone.rows_affected() == 0 {
        sqlx::query!(
            "update managed_groups set ending = $2, version = version + 1 where name = $1",
            name,
            to_word(&ending),
        )
        .execute(&mut *connection)
        .await?;
    }
    wake::managed_group(connection, &definition.spec.managed.shard(), &definition.name).await
}

async fn refuse_other(
    connection: &mut PgConnection,
    before: &Definition,
    after: &DefinitionSpec,
) -> Result<()> {
    if let Some(problem) = before.spec.managed.refuses(&after.managed) {
        return Err(Error::Constraint(problem.to_string()));
    }
    let made = sqlx::query_scalar!(
        "select arn from ledger_resources where kind = 'targetGroup' and name = $1",
        before.name.as_str(),
    )
    .fetch_optional(connection)
    .await?
    .flatten();
    let is = made.or(before.spec.arn.as_ref().map(ToString::to_string));
    match (is, &after.arn) {
        (Some(is), Some(arn)) if is != arn.to_string() => Err(Error::Constraint(format!(
            "target group `{}` is {is} and cannot become another: declare the other one by another name",
            before.name
        ))),
        _ => Ok(()),
    }
}

/// Bindings may wait for a group that is not there yet.
async fn refuse_awaited(connection: &mut PgConnection, name: &Name) -> Result<()> {
    let waiting = sqlx::query_scalar!(
        r#"
        select count(*) as "waiting!" from bindings
        where origin = 'api' and deleted_at is null and spec is null and source ->> 'targetGroup' = $1
        "#,
        name.as_str(),
    )
    .fetch_one(connection)
    .await?;
    if waiting == 0 {
        return Ok(());
    }
    Err(Error::Constraint(format!(
        "{waiting} bindings wait for target group `{name}`: delete them first"
    )))
}

/// A group that is on its way out in AWS is not to be declared meanwhile by another name.
pub(crate) async fn refuse_ours(connection: &mut PgConnection, arn: &TargetGroupArn) -> Result<()> {
    let name = sqlx::query_scalar!(
        "select name from ledger_resources where kind = 'targetGroup' and arn = $1",
        arn.to_string(),
    )
    .fetch_optional(connection)
    .await?;
    match name {
        None => Ok(()),
        Some(name) => Err(Error::Constraint(format!(
            "{arn} is Elbow's still, as target group `{name}`, which is on its way out: wait until that is gone"
        ))),
    }
}

/// AWS has each name once, and so have we.
async fn refuse_second(connection: &mut PgConnection, name: &Name, spec: &DefinitionSpec) -> Result<()> {
    let arn = spec.arn.as_ref().map(ToString::to_string);
    let other = sqlx::query_scalar!(
        r#"
        select name as "name!" from (
            select name from managed_groups where shard = $2 and aws_name = $3
            union all
            select name from target_groups where arn = $4
        ) taken where name <> $1 limit 1
        "#,
        name.as_str(),
        spec.managed.shard().to_string(),
        spec.managed.name,
        arn,
    )
    .fetch_optional(connection)
    .await?;
    match other {
        None => Ok(()),
        Some(other) => Err(Error::Constraint(format!(
            "target group `{}` of {} is declared as `{other}` already: use that declaration, or another spec.managed.name",
            spec.managed.name,
            spec.managed.shard()
        ))),
    }
}
