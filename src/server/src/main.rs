use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match server::run(server::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line for a person, with its causes; the log has the rest.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
