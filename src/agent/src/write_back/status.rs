//! The status of a TargetGroupBinding.

use serde_json::{Value, json};
use wire::agent::v1;

/// `present` with what the service says. Conditions of others stay, and a status that did not change keeps its time.
pub(super) fn merge(
    present: &Value,
    status: &v1::TargetGroupBindingStatus,
    counts: bool,
    now: &str,
) -> Value {
    let v1::TargetGroupBindingStatus {
        observed_generation,
        conditions,
        desired,
        registered,
        held,
    } = status;
    let mut merged = present.as_object().cloned().unwrap_or_default();
    let mut list = merged
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for condition in conditions {
        let v1::Condition {
            r#type,
            status,
            reason,
            message,
        } = condition;
        let slot = list.iter_mut().find(|present| present["type"] == json!(r#type));
        let former = slot.as_ref().filter(|present| present["status"] == json!(status));
        let since = former
            .and_then(|present| present["lastTransitionTime"].as_str())
            .unwrap_or(now)
            .to_owned();
        let condition = json!({
            "type": r#type,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": observed_generation,
            "lastTransitionTime": since,
        });
        match slot {
            Some(slot) => *slot = condition,
            None => list.push(condition),
        }
    }
    merged.insert("observedGeneration".to_owned(), json!(observed_generation));
    merged.insert("conditions".to_owned(), Value::Array(list));
    if counts {
        for (field, count) in [("desired", desired), ("registered", registered), ("held", held)] {
            merged.insert(field.to_owned(), json!(count));
        }
    }
    Value::Object(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(truth: &str, message: &str) -> v1::TargetGroupBindingStatus {
        v1::TargetGroupBindingStatus {
            observed_generation: 2,
            conditions: vec![v1::Condition {
                r#type: "Ready".into(),
                status: truth.into(),
                reason: "Reconciled".into(),
                message: message.into(),
            }],
            desired: 3,
            registered: 3,
            held: 0,
        }
    }

    #[test]
    fn a_status_that_did_not_change_keeps_its_time_and_is_not_written() {
        let first = merge(&Value::Null, &status("True", "all"), true, "2026-01-01T00:00:00Z");
        let second = merge(&first, &status("True", "all"), true, "2026-01-02T00:00:00Z");
        assert_eq!(first, second);
        let third = merge(
            &first,
            &status("True", "other words"),
            true,
            "2026-01-03T00:00:00Z",
        );
        assert_eq!(
            third["conditions"][0]["lastTransitionTime"],
            "2026-01-01T00:00:00Z"
        );
        let fourth = merge(&third, &status("False", "none"), true, "2026-01-04T00:00:00Z");
        assert_eq!(
            fourth["conditions"][0]["lastTransitionTime"],
            "2026-01-04T00:00:00Z"
        );
    }

    #[test]
    fn conditions_of_others_stay() {
        let present = json!({"conditions": [{"type": "Theirs", "status": "True"}]});
        let merged = merge(&present, &status("True", "all"), true, "2026-01-01T00:00:00Z");
        assert_eq!(merged["conditions"][0]["type"], "Theirs");
        assert_eq!(merged["conditions"][1]["type"], "Ready");
    }

    #[test]
    fn a_definition_without_our_counts_is_not_written_again_and_again() {
        let written = merge(
            &Value::Null,
            &status("True", "all"),
            false,
            "2026-01-01T00:00:00Z",
        );
        assert_eq!(written.get("desired"), None);
        assert_eq!(
            merge(&written, &status("True", "all"), false, "2026-01-02T00:00:00Z"),
            written
        );
    }
}
