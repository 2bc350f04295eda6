use std::process::ExitCode;

use clap::Parser;
use ctl::{Cli, Console};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Only a second call can fail, and then the provider is already the one we want.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let cli = Cli::parse();
    let mut console = Console::of_process();
    match ctl::run(cli, &mut console).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
