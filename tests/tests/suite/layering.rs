//! Who may know whom: the table of `src/README.md`, held against what cargo says the crates depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What must not be reached over any number of steps.
const NEVER_REACHES: &[(&str, &[&str])] = &[
    // A request never calls AWS.
    ("api", &["aws", "reconcile"]),
    ("control", &["aws", "reconcile"]),
    // The loop does not know who is connected.
    ("reconcile", &["wire", "api", "control"]),
    // The agent holds no state of the service and no AWS credentials.
    ("agent", &["store", "aws", "reconcile", "control", "api"]),
];

/// Foreign crates and the only crates of ours that may name them.
const ONLY: &[(&str, &[&str])] = &[
    ("sqlx", &["store", "tests"]),
    // `sandbox` looks at AWS as somebody else does.
    ("aws-config", &["aws", "sandbox"]),
    ("aws-sdk-ec2", &["aws"]),
    ("aws-sdk-elasticloadbalancingv2", &["aws", "sandbox", "tests"]),
    // `runtime` and `awssim` serve their admin ports by it.
    ("axum", &["api", "server", "runtime", "awssim"]),
    ("utoipa", &["api", "server"]),
    ("tonic", &["wire", "api", "server", "agent", "tests"]),
    ("prost", &["wire"]),
    ("kube", &["agent", "sandbox", "tests"]),
    ("k8s-openapi", &["translate", "agent", "sandbox", "tests"]),
    ("nix", &["sandbox", "tests"]),
];

/// Crates that decide and do not act, and what they would need in order to act.
const PURE: &[&str] = &["model", "translate", "planner"];
const ACTING: &[&str] = &["tokio", "reqwest", "hyper", "rand", "tracing-subscriber"];

/// Each crate of ours and the crates of ours that it may name: the table of `src/README.md`.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let readme = include_str!("../../../src/README.md");
    let rows = readme
        .lines()
        .skip_while(|line| !line.starts_with("| crate |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let name = cells[1].trim_matches(['`', '/']).to_owned();
            let known = cells[3].split(", ").filter(|known| *known != "–");
            (name, known.map(str::to_owned).collect())
        })
        .collect()
}

struct Workspace(BTreeMap<String, BTreeSet<String>>);

impl Workspace {
    /// The crates of the workspace with what they depend on outside of their own tests.
    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").expect("cargo sets CARGO for the tests that it runs");
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let named = dependencies
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .filter(|name| name != "workspace-hack");
            (package["name"].as_str().unwrap().to_owned(), named.collect())
        });
        Self(packages.collect())
    }

    fn reaches(&self, from: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(name) = next.pop() {
            for (name, _) in self
                .0
                .get(name)
                .into_iter()
                .flatten()
                .filter_map(|name| self.0.get_key_value(name))
            {
                if reached.insert(name.as_str()) {
                    next.push(name);
                }
            }
        }
        reached
    }
}

#[test]
fn each_crate_names_only_crates_that_it_may_know() {
    let workspace = Workspace::read();
    let table = table();
    let crates: Vec<_> = workspace.0.keys().collect();
    assert_eq!(
        table.keys().collect::<Vec<_>>(),
        crates,
        "the table, and what cargo has"
    );
    for (name, dependencies) in &workspace.0 {
        let named: BTreeSet<_> = dependencies
            .iter()
            .filter(|named| workspace.0.contains_key(*named))
            .cloned()
            .collect();
        assert_eq!(named, table[name], "what {name} names, and what the table says");
    }
}

#[test]
fn requests_never_reach_aws_and_loops_never_reach_connections() {
    let workspace = Workspace::read();
    for (from, never) in NEVER_REACHES {
        let reached = workspace.reaches(from);
        let forbidden: Vec<_> = never.iter().filter(|name| reached.contains(**name)).collect();
        assert!(forbidden.is_empty(), "{from} reaches {forbidden:?}");
    }
}

#[test]
fn a_foreign_crate_has_its_one_place() {
    let workspace = Workspace::read();
    for (foreign, places) in ONLY {
        for (name, dependencies) in &workspace.0 {
            let elsewhere = dependencies.contains(*foreign) && !places.contains(&name.as_str());
            assert!(
                !elsewhere || name == "workspace-hack",
                "{name} must not use {foreign}: only {places:?} do"
            );
        }
    }
}

#[test]
fn crates_that_decide_cannot_act() {
    let workspace = Workspace::read();
    for name in PURE {
        let acting: Vec<_> = ACTING
            .iter()
            .filter(|acting| workspace.0[*name].contains(**acting))
            .collect();
        assert!(acting.is_empty(), "{name} is pure, but depends on {acting:?}");
    }
}
