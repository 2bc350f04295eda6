//! Manifests: resources in files, in the form that Kubernetes users know.
//!
//! ```yaml
//! apiVersion: elbow.dev/v1
//! kind: Binding
//! metadata: {cluster: east, namespace: shop, name: web}
//! spec: {targetGroup: web, service: web, port: "80"}
//! ```
//!
//! `kind` is `Account`, `Cluster`, `TargetGroup` or `Binding`; `metadata` names the resource as its REST path does; `spec` is the
//! REST body's, whose fields the service checks. `metadata.version`, if given, must be what is stored. `status` and
//! `metadata.createdAt` are what `elbow get -o yaml` writes beside it and are not read, so that its output can be
//! applied again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Console, Error, kind::Kind, output};

pub(crate) const API_VERSION: &str = "elbow.dev/v1";

/// One resource of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) kind: Kind,
    /// The segments of its REST path.
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
    pub(crate) version: Option<i64>,
    pub(crate) body: Value,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Elbow(Manifest),
    /// A TargetGroupBinding of a cluster, as it is.
    Kubernetes(Value),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Value,
    #[serde(default, rename = "status")]
    _status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    cluster: Option<String>,
    version: Option<i64>,
    #[serde(default, rename = "createdAt")]
    _created_at: Value,
}

impl Manifest {
    pub(crate) fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    fn read(value: Value) -> Result<Self, String> {
        let Text {
            kind, metadata, spec, ..
        } = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let Metadata {
            name,
            namespace,
            cluster,
            version,
            ..
        } = metadata;
        let (kind, path) = match (kind.as_str(), cluster, namespace) {
            ("Account", None, None) => (Kind::Accounts, vec!["accounts".to_owned(), name.clone()]),
            ("Team", None, None) => (Kind::Teams, vec!["teams".to_owned(), name.clone()]),
            ("Cluster", None, None) => (Kind::Clusters, vec!["clusters".to_owned(), name.clone()]),
            ("TargetGroup", None, None) => {
                (Kind::TargetGroups, vec!["target-groups".to_owned(), name.clone()])
            }
            ("Account" | "Team" | "Cluster" | "TargetGroup", ..) => {
                return Err(format!(
                    "a {kind} has a metadata.name alone: leave cluster and namespace out"
                ));
            }
            ("Binding", Some(cluster), Some(namespace)) => {
                let path = ["clusters", &cluster, "bindings", &namespace, &name];
                (Kind::Bindings, path.map(str::to_owned).to_vec())
            }
            ("Binding", ..) => {
                return Err(
                    "a Binding needs metadata.cluster, metadata.namespace and metadata.name".to_owned(),
                );
            }
            (other, ..) => {
                return Err(format!(
                    "`{other}` is no kind of {API_VERSION}: it has Account, Team, Cluster, TargetGroup and Binding"
                ));
            }
        };
        let name = match kind {
            Kind::Bindings => [&*path[1], &*path[3], &*path[4]].join("/"),
            _ => name,
        };
        Ok(Self {
            kind,
            path,
            name,
            version,
            body: json!({ "spec": spec }),
        })
    }
}

/// The documents of files; `-` is standard input.
pub(crate) fn documents(files: &[PathBuf], console: &mut Console) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    for path in files {
        let text = text(path, console)?;
        documents.extend(parse(&path.display().to_string(), &text)?);
    }
    Ok(documents)
}

/// What a file holds; `-` is standard input.
pub(crate) fn text(path: &Path, console: &mut Console) -> Result<String, Error> {
    if path == Path::new("-") {
        return console.read_input();
    }
    fs::read_to_string(path).map_err(Error::file(format!("reading {}", path.display())))
}

/// The manifests of files, which must be Elbow's own.
pub(crate) fn own(files: &[PathBuf], console: &mut Console) -> Result<Vec<Manifest>, Error> {
    let own = |document| match document {
        Document::Elbow(manifest) => Ok(manifest),
        Document::Kubernetes(object) => Err(Error::usage(format!(
            "TargetGroupBinding `{}` lives in its cluster: change it there with kubectl",
            output::text(&object, "/metadata/name")
        ))),
    };
    documents(files, console)?.into_iter().map(own).collect()
}

/// The documents of a YAML or JSON text, lists taken apart. `origin` is told with what is wrong.
fn parse(origin: &str, text: &str) -> Result<Vec<Document>, Error> {
    // `y`, `no` and `on` are names like others.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Error::usage(format!("{origin}: {}", error.without_snippet())))?;
    let mut found = Vec::new();
    let documents = documents.into_iter().filter(|document| !document.is_null());
    for (index, document) in documents.enumerate() {
        let items = match &document["kind"] {
            Value::String(kind) if kind.ends_with("List") => match document["items"].clone() {
                Value::Array(items) => items,
                _ => {
                    return Err(Error::usage(format!(
                        "{origin}, document {}: a list has `items`",
                        index + 1
                    )));
                }
            },
            _ => vec![document],
        };
        for item in items {
            let read =
                one(item).map_err(|why| Error::usage(format!("{origin}, document {}: {why}", index + 1)))?;
            found.push(read);
        }
    }
    if found.is_empty() {
        return Err(Error::usage(format!("{origin} holds no manifest")));
    }
    Ok(found)
}

fn one(value: Value) -> Result<Document, String> {
    match (value["apiVersion"].as_str(), value["kind"].as_str()) {
        (Some(API_VERSION), Some(_)) => Manifest::read(value).map(Document::Elbow),
        (Some(version), Some("TargetGroupBinding")) if version.starts_with("elbv2.k8s.aws/") => {
            Ok(Document::Kubernetes(value))
        }
        (Some(version), Some(kind)) => Err(format!(
            "{kind} of {version} is not known: expected apiVersion {API_VERSION}, or a TargetGroupBinding"
        )),
        _ => Err(format!(
            "expected `apiVersion: {API_VERSION}`, `kind`, `metadata` and `spec`"
        )),
    }
}

/// A resource as REST answers it, as a manifest; what has no manifest form stays as it is.
pub(crate) fn of(kind: Kind, resource: &Value) -> Value {
    let word = match kind {
        Kind::Accounts => "Account",
        Kind::Teams => "Team",
        Kind::Clusters => "Cluster",
        Kind::TargetGroups => "TargetGroup",
        Kind::Bindings => "Binding",
        // The others are not declared by anybody.
        _ => return resource.clone(),
    };
    let mut metadata = Map::new();
    let mut manifest = Map::new();
    manifest.insert("apiVersion".to_owned(), API_VERSION.into());
    manifest.insert("kind".to_owned(), word.into());
    manifest.insert("metadata".to_owned(), Value::Null);
    for (field, value) in resource.as_object().into_iter().flatten() {
        match field.as_str() {
            "name" | "namespace" | "cluster" | "version" => {
                metadata.insert(field.clone(), value.clone());
            }
            "metadata" => metadata.extend(value.as_object().cloned().unwrap_or_default()),
            // What tells more than its owner asked for stands with the status.
            "id" | "origin" => {}
            _ => {
                manifest.insert(field.clone(), value.clone());
            }
        }
    }
    if let Some(status) = manifest.get_mut("status").and_then(Value::as_object_mut) {
        for field in ["id", "origin"] {
            if let Some(value) = resource.get(field) {
                status.insert(field.to_owned(), value.clone());
            }
        }
    }
    manifest.insert("metadata".to_owned(), metadata.into());
    Value::Object(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: &str = "apiVersion: elbow.dev/v1\nkind: Binding\nmetadata: {cluster: east, namespace: shop, name: web}\nspec: {service: web}\n";

    fn only(text: &str) -> Manifest {
        match parse("x.yaml", text).unwrap().remove(0) {
            Document::Elbow(manifest) => manifest,
            Document::Kubernetes(value) => panic!("{value}"),
        }
    }

    #[test]
    fn the_path_of_a_manifest_is_that_of_its_resource() {
        let binding = only(BINDING);
        assert_eq!(binding.path(), ["clusters", "east", "bindings", "shop", "web"]);
        assert_eq!((binding.name.as_str(), binding.version), ("east/shop/web", None));
        assert_eq!(binding.body, json!({"spec": {"service": "web"}}));
    }

    #[test]
    fn words_that_were_booleans_once_are_names() {
        for word in ["y", "no", "on", "off"] {
            let binding =
                only(&BINDING.replace("{service: web}", &format!("{{service: {word}, shared: true}}")));
            assert_eq!(binding.body, json!({"spec": {"service": word, "shared": true}}));
        }
    }

    #[test]
    fn a_file_may_hold_many_documents_lists_and_nothing_in_between() {
        let list = format!(
            "kind: List\napiVersion: elbow.dev/v1\nitems:\n- {}",
            BINDING.replace('\n', "\n  ")
        );
        let text = format!(
            "{BINDING}---\n---\n{list}\n---\napiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\n"
        );
        assert_eq!(parse("x", &text).unwrap().len(), 3);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, told) in [
            ("", "x holds no manifest"),
            ("{", "x: "),
            ("a: 1", "x, document 1: expected `apiVersion: elbow.dev/v1`"),
            (&BINDING.replace("Binding", "Pod"), "`Pod` is no kind"),
            (&BINDING.replace("cluster: east, ", ""), "metadata.cluster"),
            (&BINDING.replace("spec:", "spek:"), "spek"),
            (
                &BINDING.replace("name: web}", "name: web, nmespace: x}"),
                "nmespace",
            ),
            (
                &BINDING.replace("kind: Binding", "kind: Cluster"),
                "leave cluster and namespace out",
            ),
            ("apiVersion: v1\nkind: Pod", "Pod of v1 is not known"),
        ] {
            let error = parse("x", text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn what_get_writes_can_be_applied_again() {
        let resource = json!({
            "id": "7", "cluster": "east", "namespace": "shop", "name": "web", "origin": "api",
            "metadata": {"createdAt": "2026-11-25T12:00:00Z"}, "spec": {"service": "web"},
            "status": {"desired": 1}, "version": 3,
        });
        let manifest = of(Kind::Bindings, &resource);
        assert_eq!(
            manifest["status"],
            json!({"desired": 1, "id": "7", "origin": "api"})
        );
        let again = only(&manifest.to_string());
        assert_eq!(again.version, Some(3));
        assert_eq!(again.body, json!({"spec": {"service": "web"}}));
    }
}
