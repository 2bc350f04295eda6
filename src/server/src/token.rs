use clap::{Args, ValueEnum};
use control::{ApiRole, Control, Settings};
use runtime::telemetry::Registry;

use crate::options::Database;

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    #[command(flatten)]
    database: Database,
    /// What its owner may do.
    #[arg(long, value_enum)]
    role: Role,
    /// Who owns it; the audit log says this name.
    #[arg(long)]
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Admin,
    Viewer,
}

impl From<Role> for ApiRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Viewer => Self::Viewer,
        }
    }
}

/// Prints the token alone on standard output, for scripts.
pub(crate) async fn create(options: CreateToken) -> anyhow::Result<()> {
    let CreateToken { database, role, name } = options;
    let store = crate::connect(&database, &mut Registry::default()).await?;
    crate::require_schema(&store).await?;
    let token = Control::new(store, Settings::default())
        .create_token(&name, role.into())
        .await?;
    println!("{}", token.expose());
    Ok(())
}
