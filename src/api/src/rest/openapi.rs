//! The OpenAPI document: made from the routes, committed as `clients/openapi.json`.

use axum::Router;
use control::Control;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document, RefOr, Schema,
        path::Parameter,
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::route;

const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const OBJECT: &str = "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$";

const ARN: &str = "^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[0-9A-Za-z-]{1,32}/[0-9A-Za-z-]{1,64}$";
const AN_ARN: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";

/// What texts look like, by the name of their parameter or field, with an example: said once for all routes.
const SHAPES: [(&str, &str, &str); 12] = [
    ("cluster", NAME, "east"),
    ("targetGroup", NAME, "web"),
    ("team", NAME, "shop"),
    ("namespace", OBJECT, "shop"),
    ("name", OBJECT, "web"),
    ("service", OBJECT, "web"),
    ("account", "^[0-9]{12}$", "123456789012"),
    ("partition", "^aws(-[a-z-]*)?$", "aws"),
    ("region", "^[a-z]+(-[a-z]+)+-[0-9]+$", "eu-central-1"),
    ("targetGroupArn", ARN, AN_ARN),
    ("arn", ARN, AN_ARN),
    ("If-Match", r#"^(\*|"[0-9]{1,18}")$"#, "\"3\""),
];

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
    components(schemas(
        crate::problem::Problem,
        super::resource::operate::Event,
        super::resource::binding::OriginParam
    )),
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
    let (routes, mut document) = described();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
        let parameters = operations
            .into_iter()
            .flatten()
            .filter_map(|it| it.parameters.as_mut());
        for parameter in parameters.flatten() {
            if let RefOr::T(Parameter {
                name,
                schema: Some(schema),
                ..
            }) = parameter
            {
                shape(name, schema);
            }
        }
    }
    // What is asked for; answers may say more than can be asked for.
    let specs = document
        .components
        .iter_mut()
        .flat_map(|components| components.schemas.iter_mut());
    for (_, schema) in specs.filter(|(name, _)| name.ends_with("Spec") || *name == "Grant") {
        if let RefOr::T(Schema::Object(object)) = schema {
            object
                .properties
                .iter_mut()
                .for_each(|(name, schema)| shape(name, schema));
        }
    }
    (routes, document)
}

fn shape(name: &str, schema: &mut RefOr<Schema>) {
    let known = SHAPES.iter().find(|(known, ..)| *known == name);
    if let (Some((_, pattern, example)), RefOr::T(Schema::Object(schema))) = (known, schema) {
        schema.schema_type = Type::String.into();
        schema.pattern = Some((*pattern).to_owned());
        schema.examples = vec![(*example).into()];
    }
}

fn described() -> (Router<Control>, Document) {
    OpenApiRouter::with_openapi(Base::openapi())
        .merge(route::account::routes())
        .merge(route::team::routes())
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
