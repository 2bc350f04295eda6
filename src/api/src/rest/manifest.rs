//! Manifests as a body: TargetGroupBindings in YAML, as they are.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use control::Kind as Refusal;
use model::fact::ObjectName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::extract::{Body, bytes, is};
use crate::problem::{Kind, Problem};

/// Objects in one body, at most.
const OBJECTS: usize = 500;
/// Far above what a manifest needs; a document that is deeper or larger is somebody's attempt.
const DEPTH: usize = 64;
const NODES: usize = 100_000;

/// YAML documents, each a TargetGroupBinding or a List of them.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Manifests(Bytes);

/// A body that is either JSON or manifests.
pub(super) enum Manifested<T> {
    Json(T),
    /// Each object's name and its `spec`.
    Yaml(Vec<(ObjectName, Value)>),
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Manifested<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if ["application/yaml", "text/yaml"]
            .iter()
            .any(|media_type| is(&request, media_type))
        {
            return Manifests(bytes(request, state).await?).objects().map(Self::Yaml);
        }
        let Body(body) = Body::from_request(request, state).await?;
        Ok(Self::Json(body))
    }
}

impl Manifests {
    /// Each object's name and its `spec`.
    fn objects(self) -> Result<Vec<(ObjectName, Value)>, Problem> {
        let malformed = |why: &dyn std::fmt::Display| {
            Problem::new(
                Kind::Malformed,
                format!("the body is no YAML that is taken: {why}"),
            )
        };
        let text = std::str::from_utf8(&self.0).map_err(|error| malformed(&error))?;
        let budget = serde_saphyr::budget! {
            max_depth: DEPTH,
            max_nodes: NODES,
            max_aliases: 100,
        };
        let options = serde_saphyr::options! { budget: budget };
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
            .map_err(|error| malformed(&error.without_snippet()))?;
        let mut objects = Vec::new();
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            match document {
                Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                    match list.remove("items") {
                        Some(Value::Array(items)) => objects.extend(items),
                        _ => return Err(invalid("items", "a List has `items`")),
                    }
                }
                document => objects.push(document),
            }
        }
        if objects.is_empty() || objects.len() > OBJECTS {
            let detail = format!(
                "send 1 to {OBJECTS} TargetGroupBindings; these are {}",
                objects.len()
            );
            return Err(Problem::new(Kind::Refused(Refusal::Invalid), detail));
        }
        objects
            .iter_mut()
            .enumerate()
            .map(|(index, object)| read(index, object))
            .collect()
    }
}

fn read(index: usize, object: &mut Value) -> Result<(ObjectName, Value), Problem> {
    let at = |field: &str| format!("[{index}].{field}");
    let version = object["apiVersion"].as_str().unwrap_or_default();
    if object["kind"] != "TargetGroupBinding" || !version.starts_with("elbv2.k8s.aws/") {
        return Err(invalid(
            &at("kind"),
            "only TargetGroupBindings of elbv2.k8s.aws are planned",
        ));
    }
    let Some(name) = object["metadata"]["name"].as_str() else {
        return Err(invalid(&at("metadata.name"), "a manifest names its object"));
    };
    // As kubectl, with no namespace set.
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    Ok((ObjectName::new(namespace, name), object["spec"].take()))
}

fn invalid(field: &str, detail: &str) -> Problem {
    Problem::new(Kind::Refused(Refusal::Invalid), detail).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "apiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\nmetadata: {name: web}\nspec: {a: 1}\n";

    #[test]
    fn an_object_is_read_as_kubectl_reads_it() {
        let two = format!(
            "---\n{GOOD}---\n{}",
            GOOD.replace("name: web", "name: web, namespace: shop")
        );
        let names: Vec<_> = Manifests(two.into())
            .objects()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(names, ["default/web", "shop/web"]);
    }

    #[test]
    fn what_is_no_manifest_is_refused_in_bounded_time() {
        let bomb = format!("a: &a [{}]\nb: &b [{}]\n", "1,".repeat(50), "*a,".repeat(200));
        for bad in [
            b"\xff\xfe".to_vec(),
            vec![b'['; 100_000],
            b"- ".repeat(10_000),
            bomb.into_bytes(),
            b"kind: Pod\napiVersion: v1\n".to_vec(),
            Vec::new(),
            b"[]".to_vec(),
            GOOD.replace("{name: web}", "7").into_bytes(),
            "x: 1\n---\n".repeat(600).into_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&bad[..bad.len().min(60)]).into_owned();
            assert!(Manifests(bad.into()).objects().is_err(), "{shown}");
        }
    }
}
