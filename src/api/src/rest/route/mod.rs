//! One file per aggregate: the routes and what each passes to control.

pub(super) mod account;
pub(super) mod binding;
pub(super) mod cluster;
pub(super) mod endpoint;
pub(super) mod fleet;
pub(super) mod hold;
pub(super) mod plan;
pub(super) mod shard;
pub(super) mod target_group;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control::{Expected, Page, Write};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::problem::Problem;

type Answer<T> = Result<T, Problem>;

/// Where a list goes on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageParams {
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many items at most, 1-500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

impl From<PageParams> for Page {
    fn from(params: PageParams) -> Self {
        page(params.cursor, params.limit)
    }
}

fn page(cursor: Option<String>, limit: Option<u16>) -> Page {
    Page {
        cursor,
        limit: limit.unwrap_or(Page::DEFAULT_LIMIT),
    }
}

/// How a write is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WriteParams {
    /// Answer what would be, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

impl WriteParams {
    fn expecting(self, expected: Expected) -> Write {
        Write {
            expected,
            dry_run: self.dry_run,
        }
    }
}

/// A resource with its version as entity tag.
fn versioned(status: StatusCode, version: i64, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    let tag = HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value");
    response.headers_mut().insert(header::ETAG, tag);
    response
}

/// The status of a PUT.
fn put_status(created: bool) -> StatusCode {
    if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}
