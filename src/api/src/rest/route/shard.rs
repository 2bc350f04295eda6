use axum::{Json, extract::State};
use control::Control;
use model::{AccountId, Partition, Region, Shard as ShardName};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams, WriteParams};
use crate::{
    problem::Problem,
    rest::{
        extract::{Caller, Path, Query},
        resource::{List, shard::Shard},
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(release))
}

#[derive(Debug, Deserialize)]
struct ShardPath {
    partition: Partition,
    account: AccountId,
    region: Region,
}

/// List shards.
#[utoipa::path(
    get, path = "/v1/shards", operation_id = "listShards", tag = "shards", params(PageParams),
    responses(
        (status = 200, description = "A page of shards, by name", body = List<Shard>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<Shard>>> {
    Ok(Json(List::of(
        control.list_shards(&principal, &page.into()).await?,
    )))
}

/// Let a shard remove targets again after the database was restored from a backup.
#[utoipa::path(
    post, path = "/v1/shards/{partition}/{account}/{region}/release", operation_id = "releaseShard", tag = "shards",
    params(
        ("partition" = String, Path, description = "The AWS partition, e.g. `aws`"),
        ("account" = String, Path, description = "The AWS account"),
        ("region" = String, Path, description = "The AWS region"),
        WriteParams,
    ),
    responses(
        (status = 200, description = "The shard, released", body = Shard),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn release(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(ShardPath {
        partition,
        account,
        region,
    }): Path<ShardPath>,
    Query(params): Query<WriteParams>,
) -> Answer<Json<Shard>> {
    let shard = ShardName {
        partition,
        account,
        region,
    };
    Ok(Json(
        control
            .release_shard(&principal, &shard, params.dry_run)
            .await?
            .into(),
    ))
}
