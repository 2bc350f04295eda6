//! The recorded cases: manifests, and what LBC's calls left in AWS after each step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

/// What AWS holds after a step, in the recording's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// `tg-ip-http pod:web-1:8080`: target group, id, port.
    #[serde(default)]
    pub targets: BTreeSet<String>,
    /// `sg-nodes tcp 8080-8080 sg-edge`: security group, protocol, ports, peer.
    #[serde(default)]
    pub openings: BTreeSet<String>,
}

/// Where Elbow is to leave something else than LBC.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    pub case: String,
    pub step: String,
    pub reason: String,
    /// All of what is there after the step.
    pub ours: State,
}

/// One step: the whole wanted state.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// `1`, `2`, …, `delete`.
    pub name: String,
    /// Kubernetes objects with `${name}` for the fixture's ids.
    pub manifest: String,
    pub lbc: State,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Also its namespace.
    pub name: String,
    pub steps: Vec<Step>,
    /// The fixture's target groups that it names, without `tg-` and `-arn`.
    pub groups: BTreeSet<String>,
    /// Whether it asks for openings.
    pub opens: bool,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The listed differences.
pub(crate) fn differences() -> Vec<Difference> {
    serde_json::from_str(&read(&folder().join("differences.json"))).unwrap()
}

/// All cases, in the order of their names.
pub(crate) fn all() -> Vec<Case> {
    let entries = fs::read_dir(folder().join("cases")).unwrap();
    let paths: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let manifests: Vec<_> = if path.is_dir() {
            let files: BTreeSet<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            files.iter().map(|file| read(file)).collect()
        } else {
            vec![read(path)]
        };
        let recording = folder().join("recorded").join(format!("{name}.json"));
        let recording: Recording = serde_json::from_str(&read(&recording)).unwrap();
        assert_eq!(
            recording.steps.len(),
            manifests.len() + 1,
            "{name}: each step, and the deletion"
        );
        let text = manifests.concat();
        let groups = text
            .split("${tg-")
            .skip(1)
            .map(|rest| rest.split("-arn}").next().unwrap().to_owned())
            .collect();
        let mut state = State::default();
        if text.contains("${tg-ip-foreign-arn}") {
            state.targets.insert(FOREIGN_TARGET.to_owned());
        }
        let steps = recording
            .steps
            .into_iter()
            .zip(manifests.into_iter().chain([String::new()]))
            .map(|(recorded, manifest)| {
                for call in &recorded.calls {
                    state.follow(call);
                }
                Step {
                    name: recorded.name(),
                    manifest,
                    lbc: state.clone(),
                }
            })
            .collect();
        Self {
            opens: text.contains("networking:"),
            name,
            steps,
            groups,
        }
    }
}

/// The target that somebody had registered in `tg-ip-foreign` by hand.
pub(crate) const FOREIGN_TARGET: &str = "tg-ip-foreign 10.0.100.9:8080";

#[derive(Deserialize)]
struct Recording {
    steps: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    step: Value,
    calls: Vec<Call>,
}

impl Recorded {
    fn name(&self) -> String {
        self.step
            .as_str()
            .map_or_else(|| self.step.to_string(), str::to_owned)
    }
}

#[derive(Deserialize)]
struct Call {
    action: String,
    params: Value,
    status: u16,
}

impl State {
    /// What a successful call of LBC leaves, as far as it concerns bindings: what its own load balancers need is left
    /// out.
    fn follow(&mut self, call: &Call) {
        if call.status != 200 {
            return;
        }
        match call.action.as_str() {
            "RegisterTargets" => self.targets.extend(targets(&call.params)),
            "DeregisterTargets" => targets(&call.params).for_each(|target| {
                self.targets.remove(&target);
            }),
            "AuthorizeSecurityGroupIngress" => self.openings.extend(openings(&call.params)),
            "RevokeSecurityGroupIngress" => openings(&call.params).for_each(|opening| {
                self.openings.remove(&opening);
            }),
            _ => {}
        }
    }
}

/// `${tg-ip-http-arn}` → `tg-ip-http`; what the fixture does not have is LBC's own.
fn symbol(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    Some(name.strip_suffix("-arn").unwrap_or(name))
}

fn targets(params: &Value) -> impl Iterator<Item = String> {
    let group = symbol(text(params, "TargetGroupArn"));
    group.into_iter().flat_map(move |group| {
        items(params, "Targets").map(move |target| {
            let id = text(target, "Id").trim_matches(['<', '>', '$', '{', '}']);
            format!("{group} {id}:{}", text(target, "Port"))
        })
    })
}

fn openings(params: &Value) -> impl Iterator<Item = String> {
    let group = symbol(text(params, "GroupId"));
    group.into_iter().flat_map(move |group| {
        items(params, "IpPermissions").flat_map(move |permission| {
            let groups = items(permission, "Groups").filter_map(|peer| symbol(text(peer, "GroupId")));
            let ranges = items(permission, "IpRanges").map(|peer| text(peer, "CidrIp"));
            groups.chain(ranges).map(move |peer| {
                format!(
                    "{group} {} {}-{} {peer}",
                    text(permission, "IpProtocol"),
                    text(permission, "FromPort"),
                    text(permission, "ToPort")
                )
            })
        })
    })
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The ids of one run, by name.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Symbols(pub BTreeMap<String, String>);

impl Symbols {
    /// The text with each `${name}` replaced; `groups` are the case's own target groups.
    pub(crate) fn fill(&self, text: &str, groups: &BTreeMap<String, String>) -> String {
        let groups = groups.iter().map(|(name, arn)| (format!("tg-{name}-arn"), arn));
        let symbols = self.0.iter().map(|(name, id)| (name.clone(), id));
        symbols
            .filter(|(name, _)| !name.starts_with("tg-"))
            .chain(groups)
            .fold(text.to_owned(), |text, (name, id)| {
                text.replace(&format!("${{{name}}}"), id)
            })
    }

    /// The name of an id.
    pub(crate) fn name<'a>(&'a self, id: &'a str) -> &'a str {
        let named = self.0.iter().find(|(_, known)| *known == id);
        named.map_or(id, |(name, _)| name)
    }
}
