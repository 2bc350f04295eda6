//! The Services that bindings refer to.

use model::{
    ClusterId,
    fact::{ObjectName, Service},
};
use sqlx::PgConnection;

use super::{Ingested, synced};
use crate::{Op, Result, Store, database::transaction, row::to_json, stream, stream::Stream, wake};

impl Store {
    /// Stores a Service, or that it does not exist.
    pub async fn ingest_service(
        &self,
        stream: Stream,
        object: &ObjectName,
        state: Option<&Service>,
    ) -> Result<Ingested> {
        transaction!(self, Op::IngestService, |tx| {
            stream::check(tx, stream).await?;
            synced(tx, stream.cluster, "Service", Some(&object.namespace)).await?;
            if !write(tx, stream.cluster, object, state).await? {
                return Ok(Ingested {
                    ignored: 1,
                    ..Ingested::default()
                });
            }
            wake::service(tx, stream.cluster, object).await?;
            Ok(Ingested {
                written: 1,
                ..Ingested::default()
            })
        })
        .await
    }
}

/// Whether the row changed. It does not when no binding refers to the Service, or when a newer state of it is known.
pub(super) async fn write(
    connection: &mut PgConnection,
    cluster: ClusterId,
    object: &ObjectName,
    state: Option<&Service>,
) -> Result<bool> {
    let written = sqlx::query!(
        r#"
        update services set known = true, body = $4
        where cluster_id = $1 and namespace = $2 and name = $3
            and (not known or body is distinct from $4)
            and not coalesce(
                body #>> '{version,uid}' = $4 #>> '{version,uid}'
                    and (body #>> '{version,resourceVersion}')::numeric > ($4 #>> '{version,resourceVersion}')::numeric,
                false
            )
        "#,
        cluster.0,
        object.namespace,
        object.name,
        state.map(to_json),
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected() > 0)
}
