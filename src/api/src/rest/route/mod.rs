//! One file per aggregate: the routes and what each passes to control.

pub(super) mod account;
pub(super) mod binding;
pub(super) mod cluster;
pub(super) mod endpoint;
pub(super) mod event;
pub(super) mod explanation;
pub(super) mod fleet;
pub(super) mod hold;
pub(super) mod operate;
pub(super) mod plan;
pub(super) mod security_group;
pub(super) mod shard;
pub(super) mod target_group;
pub(super) mod team;

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control::{Expected, Kind as Refusal, Page, Write};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::problem::{Kind, Problem};

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

/// A time such as `30s`, `15m`, `24h` or `90d`.
fn duration(field: &'static str, text: Option<&str>) -> Answer<Option<Duration>> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || {
        let detail = format!(
            "`{}` is no time: say e.g. `30s`, `24h` or `90d`",
            text.escape_debug()
        );
        Problem::new(Kind::Refused(Refusal::Invalid), detail).at(field)
    };
    let (digits, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    Ok(Some(Duration::from_secs(u64::from(number) * factor)))
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
