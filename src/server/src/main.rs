use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    server::run(server::Cli::parse()).await
}
