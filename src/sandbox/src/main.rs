//! The `elbow-sandbox` binary: Elbow and everything it meets, on loopback.

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "elbow-sandbox",
    version,
    about = "Elbow and everything it meets, on loopback"
)]
enum Command {
    /// Play the tutorial on a real Kubernetes control plane, a real Postgres and a simulated AWS
    Demo(sandbox::demo::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Only a second call can fail, and then the provider is already the one we want.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    match Command::parse() {
        Command::Demo(arguments) => Ok(sandbox::demo::run(arguments).await?),
    }
}
