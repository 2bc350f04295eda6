//! What is shipped for monitoring, held against itself: the table of metrics, the alerts, their runbooks, the dashboard.
//! That the table is the truth is shown in `seen`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::metrics::table;

const ALERTS: &str = include_str!("../../../deploy/charts/elbow-server/monitoring/alerts.yaml");
const RUNBOOK: &str = include_str!("../../../deploy/runbooks/alerts.md");
const DASHBOARD: &str = include_str!("../../../deploy/monitoring/dashboard.json");

fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(ALERTS).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// The metrics that an expression asks for, each with the labels that it chooses by.
fn asked(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    let starts = expression.match_indices("elbow_").map(|(start, _)| start);
    starts
        .map(|start| {
            let rest = &expression[start..];
            let (name, rest) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            let chosen = rest
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
                .map_or("", |(chosen, _)| chosen);
            let labels = chosen.split(',').filter_map(|term| {
                let label = term.trim().split(|c| !is_word(c)).next()?;
                (!label.is_empty()).then(|| label.to_owned())
            });
            (name.to_owned(), labels.collect())
        })
        .collect()
}

/// The labels that an expression groups by.
fn grouped(expression: &str) -> BTreeSet<String> {
    let groups = expression
        .match_indices("by (")
        .map(|(start, by)| &expression[start + by.len()..]);
    groups
        .filter_map(|rest| rest.split_once(')'))
        .flat_map(|(labels, _)| labels.split(','))
        .map(|label| label.trim().to_owned())
        .filter(|label| label != "le")
        .collect()
}

/// Says what an expression asks for that there is not.
fn wrong(expression: &str) -> Vec<String> {
    let table = table();
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (name, labels) in asked(expression) {
        let histogram = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .filter(|name| table.get(*name).is_some_and(|metric| metric.kind == "histogram"));
        let Some(metric) = table.get(histogram.unwrap_or(&name)) else {
            wrong.push(format!("there is no {name}"));
            continue;
        };
        if metric.kind == "histogram" && histogram.is_none() {
            wrong.push(format!("{name} is a histogram"));
        }
        wrong.extend(
            labels
                .difference(&metric.labels)
                .map(|label| format!("{name} has no label {label}")),
        );
        known.extend(metric.labels.clone());
    }
    wrong.extend(
        grouped(expression)
            .difference(&known)
            .map(|label| format!("nothing there has the label {label}")),
    );
    wrong
}

#[test]
fn alerts_and_panels_ask_for_metrics_and_labels_that_there_are() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let of_panels = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let of_alerts = alerts()
        .into_iter()
        .map(|alert| alert["expr"].as_str().unwrap().to_owned());
    let expressions: Vec<_> = of_panels.chain(of_alerts).collect();
    assert!(expressions.len() > 40, "{}", expressions.len());
    for expression in expressions {
        assert!(!asked(&expression).is_empty(), "{expression}");
        assert_eq!(wrong(&expression), [""; 0], "{expression}");
    }
}

#[test]
fn what_there_is_not_would_be_noticed() {
    for (expression, why) in [
        ("elbow_nothing > 0", "there is no elbow_nothing"),
        ("elbow_pass_seconds > 0", "elbow_pass_seconds is a histogram"),
        (
            "max(elbow_shards{stat=\"free\"})",
            "elbow_shards has no label stat",
        ),
        (
            "max by (shard) (elbow_clusters)",
            "nothing there has the label shard",
        ),
    ] {
        assert_eq!(wrong(expression), [why], "{expression}");
    }
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let alerts: BTreeMap<_, _> = alerts()
        .into_iter()
        .map(|alert| (alert["alert"].as_str().unwrap().to_owned(), alert))
        .collect();
    let explained: BTreeSet<_> = RUNBOOK
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    let names: BTreeSet<_> = alerts.keys().cloned().collect();
    assert_eq!(names, explained);
    for (name, alert) in alerts {
        assert_eq!(
            alert["annotations"]["runbook"],
            format!("/runbooks/alerts/{name}")
        );
        assert!(
            ["critical", "warning", "info"]
                .map(Value::from)
                .contains(&alert["labels"]["severity"]),
            "{alert}"
        );
    }
}

#[test]
fn no_metric_has_a_label_of_which_there_are_as_many_as_pods() {
    const BOUNDED: [&str; 11] = [
        "version",
        "shard",
        "bucket",
        "lane",
        "action",
        "outcome",
        "of",
        "kind",
        "operation",
        "state",
        "reason",
    ];
    for (name, metric) in table() {
        // One for each registered cluster, of which there are few.
        let by_cluster = name == "elbow_cluster_last_heard_timestamp_seconds";
        let odd = metric
            .labels
            .iter()
            .find(|label| !(BOUNDED.contains(&label.as_str()) || by_cluster && *label == "cluster"));
        assert_eq!(odd, None, "{name}");
    }
}
