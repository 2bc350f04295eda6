//! Writes `clients/openapi.json` from the routes. With `--check`: writes nothing and fails where it differs.

use std::{env, fs, path::Path};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        other => bail!("unknown arguments {other:?}; the only one is --check"),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/openapi.json");
    let document = api::rest::openapi::document();
    let same = fs::read_to_string(&path).is_ok_and(|committed| committed == document);
    match (same, check) {
        (true, _) => Ok(()),
        (false, true) => bail!(
            "{} is not what the routes say: run `cargo xtask gen`",
            path.display()
        ),
        (false, false) => {
            fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))
        }
    }
}
