use clap::{Args, ValueEnum};
use control::{ApiRole, Control, Settings, TokenSpec};
use model::{
    Name,
    scope::{Place, Scope},
};
use runtime::telemetry::Registry;

use crate::options::Database;

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    #[command(flatten)]
    database: Database,
    /// What its owner may do.
    #[arg(long, value_enum)]
    role: Role,
    /// What it is for: `CLUSTER` or `CLUSTER/NAMESPACE`, once or several times; without it, everything.
    #[arg(long = "scope", value_name = "PLACE")]
    scope: Vec<Place>,
    /// The team whose it is: it has no more than the team has.
    #[arg(long)]
    team: Option<Name>,
    /// Who owns it; the audit log says this name.
    #[arg(long)]
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Everything.
    Admin,
    /// Reading, and declaring bindings.
    Editor,
    /// Reading.
    Viewer,
}

impl From<Role> for ApiRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Editor => Self::Editor,
            Role::Viewer => Self::Viewer,
        }
    }
}

/// Prints the token alone on standard output, for scripts.
pub(crate) async fn create(options: CreateToken) -> anyhow::Result<()> {
    let CreateToken {
        database,
        role,
        scope,
        team,
        name,
    } = options;
    let spec = TokenSpec {
        name,
        role: role.into(),
        scope: (!scope.is_empty()).then_some(Scope(scope)),
        team,
        lifetime: None,
    };
    let store = crate::connect(&database, &mut Registry::default()).await?;
    crate::require_schema(&store).await?;
    let token = Control::new(store, Settings::default())
        .create_token(spec)
        .await?;
    println!("{}", token.expose());
    Ok(())
}
