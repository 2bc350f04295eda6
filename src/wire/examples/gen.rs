//! Generates `src/wire/src/gen` from `proto/`. With `--check`: writes nothing and fails where the committed code differs.

use std::{env, fs, path::Path};

use anyhow::{Context, bail};

const FILES: [&str; 1] = ["elbow/agent/v1/agent.proto"];

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
    tonic_prost_build::configure()
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

fn compare_or_copy(fresh: &Path, committed: &Path, check: bool) -> anyhow::Result<()> {
    for entry in fs::read_dir(fresh)? {
        let entry = entry?;
        let new = fs::read_to_string(entry.path())?;
        let path = committed.join(entry.file_name());
        let same = fs::read_to_string(&path).is_ok_and(|old| old == new);
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
