//! The OpenAPI document: made from the routes, committed as `clients/openapi.json`.

use axum::Router;
use control::Control;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::route;

/// Elbow puts the endpoints of many Kubernetes clusters into AWS target groups.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Elbow",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        description = "Elbow puts the endpoints of many Kubernetes clusters into AWS target groups.\n\n\
            Names are chosen by the client; PUT creates or updates and is idempotent. An answer's ETag is the \
            resource's version; send it as If-Match to write only what you have seen. Errors are RFC 9457 problems \
            with a stable `type`. A request never calls AWS."
    ),
    components(schemas(crate::problem::Problem, super::resource::operate::Event)),
    security(("token" = [])),
    modifiers(&Token),
)]
struct Base;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token as `elbow-server token create` prints it."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The routes and the document that describes them: one declaration for both.
pub(super) fn build() -> (Router<Control>, Document) {
    OpenApiRouter::with_openapi(Base::openapi())
        .merge(route::account::routes())
        .merge(route::cluster::routes())
        .merge(route::target_group::routes())
        .merge(route::binding::routes())
        .merge(route::endpoint::routes())
        .merge(route::plan::routes())
        .merge(route::fleet::routes())
        .merge(route::hold::routes())
        .merge(route::security_group::routes())
        .merge(route::shard::routes())
        .merge(route::operate::routes())
        .merge(route::event::routes())
        .merge(route::explanation::routes())
        .split_for_parts()
}

/// The document as it is committed.
pub fn document() -> String {
    let (_, document) = build();
    let mut text = document
        .to_pretty_json()
        .expect("the document holds nothing that JSON cannot");
    text.push('\n');
    text
}
