//! What holds for every operation of REST, read from the OpenAPI document: a new route does as the others do, or stands
//! here with its reason.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::document;

/// Lists that are answered whole: what they list is bounded by what a person did or asked for.
const WHOLE: [&str; 2] = ["listPauses", "explain"];
/// Writes that cannot be tried: a token is made and shown in the same answer.
const NO_TRIAL: [&str; 3] = ["issueToken", "rotateToken", "issueAgentToken"];
/// Writes of what has no version: a switch that is on or off, and a token, which is only ended.
const NO_VERSION: [&str; 3] = ["pause", "resume", "endToken"];

struct Operation<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn takes(&self, parameter: &str) -> bool {
        let parameters = self.value["parameters"].as_array().into_iter().flatten();
        let mut names = parameters.filter_map(|parameter| parameter["name"].as_str());
        names.any(|name| name == parameter)
    }

    /// The schema of what it answers in JSON.
    fn answers(&self) -> Option<&str> {
        let responses = self.value["responses"].as_object()?;
        let (_, good) = responses.iter().find(|(status, _)| status.starts_with('2'))?;
        let schema = &good["content"]["application/json"]["schema"];
        schema["$ref"].as_str()?.rsplit('/').next()
    }

    fn writes(&self) -> bool {
        // A preview is asked for by POST, since its manifest is a body.
        self.method != "get" && self.id != "previewPlan"
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, value)| Operation {
            id: value["operationId"].as_str().unwrap(),
            method,
            path,
            value,
        })
    });
    operations.collect()
}

/// Those for which it does not hold, beside those that are listed; and what is listed for nothing.
fn without<'a>(
    operations: impl Iterator<Item = &'a Operation<'a>>,
    listed: &[&'a str],
    holds: impl Fn(&Operation) -> bool,
) -> Vec<&'a str> {
    let broken: BTreeSet<_> = operations
        .filter(|operation| !holds(operation))
        .map(|operation| operation.id)
        .collect();
    let listed: BTreeSet<_> = listed.iter().copied().collect();
    broken.symmetric_difference(&listed).copied().collect()
}

#[test]
fn every_list_is_read_in_pages() {
    let document = document();
    let operations = operations(&document);
    let lists = operations.iter().filter(|operation| {
        operation.method == "get"
            && operation
                .answers()
                .is_some_and(|schema| schema.starts_with("List_"))
    });
    let odd = without(lists, &WHOLE, |list| list.takes("cursor") && list.takes("limit"));
    assert_eq!(odd, [""; 0]);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if name.starts_with("List_") {
            assert!(schema["properties"]["items"].is_object(), "{name}");
            assert!(schema["properties"]["next"].is_object(), "{name}: {schema}");
        }
    }
}

#[test]
fn every_write_can_be_tried_and_be_made_of_one_version_alone() {
    let document = document();
    let operations = operations(&document);
    let writes = || operations.iter().filter(|operation| operation.writes());
    let odd = without(writes(), &NO_TRIAL, |write| write.takes("dryRun"));
    assert_eq!(odd, [""; 0]);
    let of_resources = writes().filter(|write| matches!(write.method, "put" | "delete"));
    let odd = without(of_resources, &NO_VERSION, |write| write.takes("If-Match"));
    assert_eq!(odd, [""; 0]);
}

#[test]
fn every_resource_has_a_spec_and_a_version_and_is_answered_by_its_write() {
    let document = document();
    let operations = operations(&document);
    for put in operations
        .iter()
        .filter(|operation| operation.method == "put" && operation.takes("If-Match"))
    {
        let schema = put
            .answers()
            .unwrap_or_else(|| panic!("{} answers nothing", put.id));
        let properties = document["components"]["schemas"][schema]["properties"]
            .as_object()
            .unwrap();
        for property in ["spec", "version"] {
            assert!(properties.contains_key(property), "{schema} has no {property}");
        }
        let same = |other: &&Operation| other.path == put.path && other.method != "put";
        for other in operations.iter().filter(same) {
            assert_eq!(other.answers(), Some(schema), "{} of {}", other.id, put.path);
        }
        let created = &put.value["responses"]["201"];
        assert!(created.is_object(), "{} does not tell what is new", put.id);
    }
}

#[test]
fn every_failure_is_a_problem() {
    let document = document();
    for operation in operations(&document) {
        let failure = &operation.value["responses"]["default"];
        assert!(
            failure["content"]["application/problem+json"].is_object(),
            "{} {}: {failure}",
            operation.method,
            operation.path
        );
    }
}
