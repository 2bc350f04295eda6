//! Generates `src/wire/src/gen` from `proto/`. With `--check`: writes nothing and fails where the committed code differs.

use std::{env, fs, path::Path};

use anyhow::{Context, bail};
use prost_types::{DescriptorProto, FileDescriptorSet};

const FILES: [&str; 2] = include!("../files.in");

/// The package whose resources are read from REST's JSON.
const RESOURCES: &str = "elbow.v1";
/// REST leaves out what there is not.
const JSON: &str =
    "#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = \"camelCase\", default)]";
/// Fields of no fixed shape, which are JSON text here.
const TEXTS: [&str; 5] = [
    "JournaledPlan.outcome",
    "JournaledRulePlan.outcome",
    "AuditEntry.before",
    "AuditEntry.after",
    "Event.body",
];

fn main() -> anyhow::Result<()> {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        other => bail!("unknown arguments {other:?}; the only one is --check"),
    };
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = home.join("../../proto");
    let committed = home.join("src/gen");
    let fresh = env::temp_dir().join(format!("elbow-wire-gen-{}", std::process::id()));
    fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;

    let outcome = generate(&proto, &fresh).and_then(|()| compare_or_copy(&fresh, &committed, check));
    fs::remove_dir_all(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    outcome
}

fn generate(proto: &Path, out: &Path) -> anyhow::Result<()> {
    let descriptors = protox::compile(FILES, [proto]).context("the proto files do not compile")?;
    let mut configured = tonic_prost_build::configure();
    for message in resources(&descriptors) {
        configured = configured.message_attribute(format!(".{RESOURCES}.{message}"), JSON);
    }
    for text in TEXTS {
        let with = "#[serde(with = \"crate::json_text\")]";
        configured = configured.field_attribute(format!(".{RESOURCES}.{text}"), with);
    }
    configured
        .build_client(true)
        .build_server(true)
        // Its `connect(address)` would clash with the call of that name; callers make their own channels.
        .build_transport(false)
        .emit_rerun_if_changed(false)
        // Two runs of one message encode to the same bytes.
        .btree_map(".")
        .out_dir(out)
        .compile_fds(descriptors)
        .context("code cannot be generated")
}

/// The messages that are a resource or a part of one, and the answers that hold them.
fn resources(descriptors: &FileDescriptorSet) -> impl Iterator<Item = &str> {
    let files = descriptors.file.iter().filter(|file| file.package() == RESOURCES);
    let messages = files
        .flat_map(|file| &file.message_type)
        .map(DescriptorProto::name);
    messages.filter(|name| !name.ends_with("Request") && *name != "FollowEventsResponse")
}

fn compare_or_copy(fresh: &Path, committed: &Path, check: bool) -> anyhow::Result<()> {
    for entry in fs::read_dir(fresh)? {
        let entry = entry?;
        let new = fs::read(entry.path())?;
        let path = committed.join(entry.file_name());
        let same = fs::read(&path).is_ok_and(|old| old == new);
        if check && !same {
            bail!(
                "{} is not what proto/ says: run `cargo run -p wire --example gen`",
                path.display()
            );
        }
        if !check && !same {
            fs::create_dir_all(committed)?;
            fs::write(&path, new)?;
        }
    }
    Ok(())
}
