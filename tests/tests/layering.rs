//! Who may know whom: the table of `src/README.md`, held against what cargo says the crates depend on.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate of ours and the crates of ours that it may name. `ALL` may name any.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("translate", &["model"]),
    ("planner", &["model"]),
    ("wire", &["model"]),
    ("store", &["model"]),
    ("aws", &["model"]),
    ("runtime", &[]),
    (
        "reconcile",
        &["model", "translate", "planner", "store", "aws", "runtime"],
    ),
    ("control", &["model", "translate", "planner", "store", "runtime"]),
    ("api", &["model", "control", "wire", "runtime"]),
    (
        "server",
        &[
            "model",
            "translate",
            "planner",
            "wire",
            "store",
            "aws",
            "runtime",
            "reconcile",
            "control",
            "api",
        ],
    ),
    ("agent", &["model", "wire", "runtime"]),
    ("ctl", &[]),
    ("awssim", &[]),
    ("sandbox", ALL),
    ("tests", ALL),
    ("xtask", &[]),
    ("workspace-hack", &[]),
];
const ALL: &[&str] = &["*"];

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
    let table: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    for (name, dependencies) in &workspace.0 {
        let allowed = table
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is new: add it to the table"));
        let named = dependencies
            .iter()
            .map(String::as_str)
            .filter(|named| workspace.0.contains_key(*named));
        let forbidden: Vec<_> = named
            .filter(|named| *allowed != ALL && !allowed.contains(named))
            .collect();
        assert!(forbidden.is_empty(), "{name} must not know {forbidden:?}");
    }
    let gone: Vec<_> = table
        .keys()
        .filter(|name| !workspace.0.contains_key(**name))
        .collect();
    assert!(gone.is_empty(), "the table names crates that are gone: {gone:?}");
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
