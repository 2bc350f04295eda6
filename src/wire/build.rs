//! Encodes what `proto/` says, for reflection. The code that follows from it is committed, by `examples/gen.rs`.

use std::{env, error::Error, fs, path::Path};

use prost::Message;

const FILES: [&str; 2] = include!("files.in");

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    println!("cargo::rerun-if-changed=files.in");
    let descriptors = protox::compile(FILES, [proto])?;
    let out = Path::new(&env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    Ok(())
}
