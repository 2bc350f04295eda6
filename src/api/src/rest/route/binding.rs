use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use control::{Control, Kind as Refusal, bindings::BindingName};
use model::{Name, fact::ObjectName};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, WriteParams, page, put_status, versioned};
use crate::{
    problem::{Kind, Problem},
    rest::{
        extract::{Body, Caller, IfMatch, Path, Query},
        resource::{
            List,
            binding::{Adoption, Binding, OriginParam, PutBinding},
        },
    },
};

/// The longest `wait`.
const WAIT_SECONDS: u64 = 30;

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(adopt))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only bindings of this cluster.
    #[param(value_type = Option<String>)]
    cluster: Option<Name>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many items at most, 1-500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct GetParams {
    /// Which one, where an object and the API declared one of the same name; without it, the object's.
    origin: Option<OriginParam>,
    /// Answer when the binding is ready, or after so many seconds, e.g. `30s`; at most 30 s.
    #[param(pattern = "^[0-9]{1,2}s$")]
    wait: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AdoptParams {
    /// Answer what would be, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// The caller's word that the AWS Load Balancer Controller does not act on the object, where the cluster's agent cannot
    /// say so.
    #[serde(default)]
    lbc_is_gone: bool,
}

#[derive(Debug, Deserialize)]
struct BindingPath {
    cluster: Name,
    namespace: String,
    name: String,
}

impl From<BindingPath> for BindingName {
    fn from(path: BindingPath) -> Self {
        let BindingPath {
            cluster,
            namespace,
            name,
        } = path;
        Self {
            cluster,
            object: ObjectName { namespace, name },
        }
    }
}

fn wait(text: Option<&str>) -> Answer<Duration> {
    let Some(text) = text else {
        return Ok(Duration::ZERO);
    };
    let seconds = text.strip_suffix('s').and_then(|digits| digits.parse().ok());
    let seconds = seconds
        .filter(|seconds| *seconds <= WAIT_SECONDS)
        .ok_or_else(|| {
            let detail = format!(
                "`{}` is no time to wait: say e.g. `{WAIT_SECONDS}s`, which is the most",
                text.escape_debug()
            );
            Problem::new(Kind::Refused(Refusal::Invalid), detail).at("wait")
        })?;
    Ok(Duration::from_secs(seconds))
}

/// List bindings, whoever declared them.
#[utoipa::path(
    get, path = "/v1/bindings", operation_id = "listBindings", tag = "bindings", params(ListParams),
    responses(
        (status = 200, description = "A page of bindings", body = List<Binding>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<ListParams>,
) -> Answer<Json<List<Binding>>> {
    let ListParams {
        cluster,
        cursor,
        limit,
    } = params;
    let listing = control
        .list_bindings(&principal, cluster.as_ref(), &page(cursor, limit))
        .await?;
    Ok(Json(List::of(listing)))
}

/// Read a binding; with `wait`, when it is ready.
#[utoipa::path(
    get, path = "/v1/clusters/{cluster}/bindings/{namespace}/{name}", operation_id = "getBinding", tag = "bindings",
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        ("namespace" = String, Path, description = "The namespace of the Service"),
        ("name" = String, Path, description = "The binding's name"),
        GetParams,
    ),
    responses(
        (status = 200, description = "The binding", body = Binding, headers(("ETag" = String, description = "Its version"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(path): Path<BindingPath>,
    Query(params): Query<GetParams>,
) -> Answer<Response> {
    let GetParams { origin, wait: text } = params;
    let wait = wait(text.as_deref())?;
    let view = control
        .get_binding(&principal, &path.into(), origin.map(Into::into), wait)
        .await?;
    let binding = Binding::from(view);
    Ok(versioned(StatusCode::OK, binding.version, &binding))
}

/// Declare a binding, or change one that was declared here.
#[utoipa::path(
    put, path = "/v1/clusters/{cluster}/bindings/{namespace}/{name}", operation_id = "putBinding", tag = "bindings",
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        ("namespace" = String, Path, description = "The namespace of the Service"),
        ("name" = String, Path, description = "The binding's name"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    request_body = PutBinding,
    responses(
        (status = 200, description = "The binding, changed or as it was", body = Binding),
        (status = 201, description = "The binding, new", body = Binding),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(path): Path<BindingPath>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
    Body(body): Body<PutBinding>,
) -> Answer<Response> {
    let write = params.expecting(expected);
    let written = control
        .put_binding(&principal, &path.into(), body.spec.try_into()?, write)
        .await?;
    let binding = Binding::from(written.value);
    Ok(versioned(put_status(written.created), binding.version, &binding))
}

/// Delete a binding that was declared here: its targets are deregistered.
#[utoipa::path(
    delete, path = "/v1/clusters/{cluster}/bindings/{namespace}/{name}", operation_id = "deleteBinding",
    tag = "bindings",
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        ("namespace" = String, Path, description = "The namespace of the Service"),
        ("name" = String, Path, description = "The binding's name"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    responses(
        (status = 200, description = "The binding as it was", body = Binding),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(path): Path<BindingPath>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
) -> Answer<Json<Binding>> {
    let write = params.expecting(expected);
    Ok(Json(
        control
            .delete_binding(&principal, &path.into(), write)
            .await?
            .into(),
    ))
}

/// Take a binding over from the AWS Load Balancer Controller, or end a contest about its targets.
///
/// Refused while that controller renews its Lease in the cluster. The agent removes its finalizer and checkpoint from the
/// object, and from then on Elbow acts on it.
#[utoipa::path(
    post, path = "/v1/clusters/{cluster}/bindings/{namespace}/{name}/adopt", operation_id = "adoptBinding",
    tag = "bindings",
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        ("namespace" = String, Path, description = "The namespace of the Service"),
        ("name" = String, Path, description = "The binding's name"),
        AdoptParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    responses(
        (status = 200, description = "The binding and its plan", body = Adoption),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn adopt(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(path): Path<BindingPath>,
    Query(params): Query<AdoptParams>,
    IfMatch(expected): IfMatch,
) -> Answer<Json<Adoption>> {
    let AdoptParams { dry_run, lbc_is_gone } = params;
    let write = WriteParams { dry_run }.expecting(expected);
    let adoption = control
        .adopt_binding(&principal, &path.into(), lbc_is_gone, write)
        .await?;
    Ok(Json(adoption.into()))
}
