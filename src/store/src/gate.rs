//! What readiness gates are to say, until the cluster's agent has written it.

use std::collections::BTreeSet;

use model::{
    ClusterId, TargetGroupArn,
    fact::PodRef,
    pod::{Gate, GateState},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    Op, Result, Store,
    database::transaction,
    lease,
    row::{Row, limit, to_json},
    wake,
};

/// What a gate is to say, on its way to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateWriteBack {
    /// Rises, and is no version of a status: the next question is for what is above the highest seen.
    pub version: i64,
    pub pod: PodRef,
    /// The binding's name, by which the pod names the gate.
    pub name: String,
    pub state: GateState,
}

impl Store {
    /// Makes `gates` what is to be written of the group's bindings. What a binding wanted that has gone since stays until
    /// it is written.
    pub async fn sync_gates(&self, fence: &lease::Fence, arn: &TargetGroupArn, gates: &[Gate]) -> Result<()> {
        let rows: Vec<_> = gates
            .iter()
            .map(|gate| {
                let Gate {
                    cluster,
                    binding,
                    name,
                    pod,
                    state,
                } = gate;
                json!({
                    "cluster": cluster,
                    "pod_uid": pod.uid,
                    "name": name,
                    "pod": pod,
                    "binding": binding,
                    "body": to_json(state),
                })
            })
            .collect();
        let clusters: BTreeSet<_> = gates.iter().map(|gate| gate.cluster).collect();
        transaction!(self, Op::SyncGates, |tx| {
            lease::check_group(tx, fence, arn).await?;
            sqlx::query!(
                r#"
                delete from gates g
                where target_group_arn = $1 and exists (select from bindings b where b.id = g.binding_id)
                    and not exists (
                        select from jsonb_to_recordset($2) as new (cluster uuid, pod_uid uuid, name text)
                        where new.cluster = g.cluster_id and new.pod_uid = g.pod_uid and new.name = g.name
                    )
                "#,
                arn.to_string(),
                Value::from(rows.clone()),
            )
            .execute(&mut *tx)
            .await?;
            for cluster in &clusters {
                write(tx, *cluster, arn, &rows).await?;
            }
            Ok(())
        })
        .await
    }

    /// What gates of the cluster are to say, above a version, lowest first.
    pub async fn gates(
        &self,
        cluster: ClusterId,
        after_version: i64,
        rows: u32,
    ) -> Result<Vec<GateWriteBack>> {
        let query = sqlx::query!(
            "select version, pod, name, body from gates where cluster_id = $1 and version > $2 order by version limit $3",
            cluster.0,
            after_version,
            limit(rows),
        );
        let rows = self.read(Op::Outgoing, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let at = Row::new("gates", &row.version);
                Ok(GateWriteBack {
                    version: row.version,
                    pod: at.json("pod", row.pod)?,
                    name: row.name,
                    state: at.json("body", row.body)?,
                })
            })
            .collect()
    }

    /// The agent wrote what had this version, or there is no such pod any more.
    pub async fn gate_written(&self, cluster: ClusterId, version: i64) -> Result<()> {
        transaction!(self, Op::SyncGates, |tx| {
            sqlx::query!(
                "delete from gates where cluster_id = $1 and version = $2",
                cluster.0,
                version,
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }
}

async fn write(
    connection: &mut PgConnection,
    cluster: ClusterId,
    arn: &TargetGroupArn,
    rows: &[Value],
) -> Result<()> {
    let written = sqlx::query!(
        r#"
        with changed as (
            select new.*, row_number() over (order by new.pod_uid, new.name) as number
            from jsonb_to_recordset($3)
                as new (cluster uuid, pod_uid uuid, name text, pod jsonb, binding uuid, body jsonb)
            left join gates g on g.cluster_id = $1 and g.pod_uid = new.pod_uid and g.name = new.name
            where new.cluster = $1 and (g.body, g.binding_id) is distinct from (new.body, new.binding)
        ), clock as (
            insert into status_versions as v (cluster_id, version)
            select $1, count(*) from changed having count(*) > 0
            on conflict (cluster_id) do update set version = v.version + excluded.version
            returning version
        )
        insert into gates (cluster_id, pod_uid, name, pod, binding_id, target_group_arn, body, version)
        select $1, pod_uid, name, pod, binding, $2, body, clock.version - (select count(*) from changed) + number
        from changed, clock
        on conflict (cluster_id, pod_uid, name) do update
        set pod = excluded.pod, binding_id = excluded.binding_id, target_group_arn = excluded.target_group_arn,
            body = excluded.body, version = excluded.version
        "#,
        cluster.0,
        arn.to_string(),
        Value::from(rows.to_vec()),
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if written > 0 {
        wake::cluster(connection, cluster).await?;
    }
    Ok(())
}
