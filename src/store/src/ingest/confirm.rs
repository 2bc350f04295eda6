//! The answer to a relist: consistent reads of a Service, all its slices, and the pods and nodes that were asked about.
//!
//! The reads were made some time before they arrive here, and the stream may have stated newer things in between. So they
//! confirm only a state that is stored and is not newer than they are. What they lack is deleted only if it existed when
//! they were made: its resourceVersion is below one that they saw.

use model::{
    ClusterId,
    fact::{ObjectName, Service},
    stream::Confirm,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Ingested, departures, nodes, service, slices};
use crate::{
    Op, Result, Store,
    database::transaction,
    row::{Row, to_bigint},
    stream,
    stream::Stream,
    wake,
};

impl Store {
    /// Stores a confirmation, with what it says and when it came. `needs_reset`: it contradicts what is stored, so it
    /// confirms nothing, and the Service must be stated anew.
    pub async fn ingest_confirm(&self, stream: Stream, confirm: &Confirm) -> Result<Ingested> {
        let Confirm {
            relist_id,
            object,
            service: state,
            slices,
            pods,
            nodes: read,
        } = confirm;
        let cluster = stream.cluster;
        transaction!(self, Op::IngestConfirm, |tx| {
            stream::check(tx, stream).await?;
            // Only the relist that it answers is done with. A contradicted one is asked for again by the next plan.
            sqlx::query!(
                "delete from relists where cluster_id = $1 and namespace = $2 and service = $3 and id = $4",
                cluster.0,
                object.namespace,
                object.name,
                to_bigint(*relist_id),
            )
            .execute(&mut *tx)
            .await?;
            let Some(service_agrees) = confirm_service(tx, cluster, object, state.as_ref()).await? else {
                return Ok(Ingested {
                    ignored: 1,
                    ..Ingested::default()
                });
            };
            let mut written = slices::upsert(tx, cluster, object, slices).await?;
            written.rows += remove_proven(tx, cluster, confirm).await?;
            written.rows += departures::strengthen(tx, cluster, object, pods).await?;
            written.rows += nodes::confirm(tx, cluster, read).await?.rows;
            let agrees = service_agrees && slices_agree(tx, cluster, confirm).await?;
            if agrees {
                written.rows += sqlx::query!(
                    r#"
                    update services set confirmed_at = clock_timestamp(), slices_known = true
                    where cluster_id = $1 and namespace = $2 and name = $3
                    "#,
                    cluster.0,
                    object.namespace,
                    object.name,
                )
                .execute(&mut *tx)
                .await?
                .rows_affected();
            }
            if written.rows > 0 {
                written.services.push(object.name.clone());
                wake::services(tx, cluster, &object.namespace, &written.services).await?;
            }
            Ok(Ingested {
                written: written.rows,
                ignored: 0,
                needs_reset: !agrees,
            })
        })
        .await
    }
}

/// Whether the stored Service, brought up to the read one, is the read one. `None`: no binding refers to it.
async fn confirm_service(
    connection: &mut PgConnection,
    cluster: ClusterId,
    object: &ObjectName,
    read: Option<&Service>,
) -> Result<Option<bool>> {
    let row = sqlx::query!(
        "select known, body from services where cluster_id = $1 and namespace = $2 and name = $3",
        cluster.0,
        object.namespace,
        object.name,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let stored: Option<Service> = row
        .body
        .map(|body| Row::new("services", object).json("body", body))
        .transpose()?;
    let agrees = match (row.known, &stored, read) {
        (false, ..) | (true, None, None) => true,
        (true, Some(stored), Some(read)) => {
            stored.version.uid == read.version.uid
                && stored.version.resource_version <= read.version.resource_version
        }
        (true, ..) => false,
    };
    if agrees {
        service::write(connection, cluster, object, read).await?;
    }
    Ok(Some(agrees))
}

/// Removes slices that the read would have seen, had they still been there.
async fn remove_proven(connection: &mut PgConnection, cluster: ClusterId, confirm: &Confirm) -> Result<u64> {
    let Confirm {
        object,
        service,
        slices,
        ..
    } = confirm;
    let versions = slices
        .iter()
        .map(|slice| slice.version)
        .chain(service.iter().map(|service| service.version));
    let Some(newest) = versions.map(|version| version.resource_version).max() else {
        return Ok(0);
    };
    let names: Vec<_> = slices.iter().map(|slice| slice.object.name.clone()).collect();
    let gone = sqlx::query!(
        r#"
        delete from endpoint_slices
        where cluster_id = $1 and namespace = $2 and service = $3 and name <> all($4) and resource_version <= $5
        "#,
        cluster.0,
        object.namespace,
        object.name,
        &names,
        to_bigint(newest),
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// Whether what is stored is what was read, version by version.
async fn slices_agree(connection: &mut PgConnection, cluster: ClusterId, confirm: &Confirm) -> Result<bool> {
    let read: Vec<_> = confirm
        .slices
        .iter()
        .filter(|slice| slice.service == confirm.object.name)
        .map(|slice| {
            json!({
                "name": slice.object.name,
                "uid": slice.version.uid,
                "resource_version": to_bigint(slice.version.resource_version),
            })
        })
        .collect();
    let agree = sqlx::query_scalar!(
        r#"
        with stored as (
            select name, uid, resource_version from endpoint_slices
            where cluster_id = $1 and namespace = $2 and service = $3
        ), read as (
            select * from jsonb_to_recordset($4) as read (name text, uid uuid, resource_version bigint)
        )
        select not exists (table stored except table read) and not exists (table read except table stored) as "agree!"
        "#,
        cluster.0,
        confirm.object.namespace,
        confirm.object.name,
        Value::from(read),
    );
    Ok(agree.fetch_one(connection).await?)
}
