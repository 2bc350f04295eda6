//! `spec.nodeSelector`: which nodes are targets of an instance group.

use model::{
    condition::Problem,
    node::{NodeSelector, Operator, Requirement},
};
use serde_json::Value;

use crate::fields::{Fields, invalid, text_of};

pub(crate) fn node_selector(
    value: &Value,
    path: String,
    warnings: &mut Vec<String>,
) -> Result<NodeSelector, Problem> {
    let mut fields = Fields::of(value, path)?;
    let mut requirements = Vec::new();
    if let Some(labels) = fields.get("matchLabels") {
        let path = fields.at("matchLabels");
        for (key, value) in Fields::of(labels, path.clone())?.entries() {
            let value = text_of(value, format!("{path}.{key}"))?;
            requirements.push(Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.to_owned()]),
            });
        }
    }
    let path = fields.at("matchExpressions");
    for (i, item) in fields
        .list("matchExpressions")?
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        requirements.push(requirement(item, format!("{path}[{i}]"), warnings)?);
    }
    fields.finish(warnings);
    Ok(NodeSelector(requirements))
}

fn requirement(value: &Value, path: String, warnings: &mut Vec<String>) -> Result<Requirement, Problem> {
    let mut fields = Fields::of(value, path)?;
    let key = fields.required_text("key")?.to_owned();
    let operator = fields
        .word("operator", &["In", "NotIn", "Exists", "DoesNotExist"])?
        .ok_or_else(|| fields.missing("operator"))?;
    let path = fields.at("values");
    let values = fields
        .list("values")?
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(i, value)| text_of(value, format!("{path}[{i}]")).map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()?;
    let operator = match (operator, values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        (operator, true) => {
            return Err(invalid(path, format!("`{operator}` needs values: list them")));
        }
        (operator, false) => {
            return Err(invalid(
                path,
                format!("`{operator}` takes no values: remove them"),
            ));
        }
    };
    fields.finish(warnings);
    Ok(Requirement { key, operator })
}
