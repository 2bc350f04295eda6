use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    Console, Error,
    client::{Client, Query},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token for a person or a portal and print it, this once. Those made before under the name stay valid.
    Create {
        /// Who owns it; the audit log says this name.
        name: String,
        #[arg(long, value_parser = ["admin", "editor", "viewer"])]
        role: String,
        /// What it is for: `CLUSTER` or `CLUSTER/NAMESPACE`, once or several times; else all that its team has, and without
        /// a team all that the token has that makes it.
        #[arg(long = "scope", value_name = "PLACE")]
        scope: Vec<String>,
        /// The team whose it is: it has no more than the team has.
        #[arg(long)]
        team: Option<String>,
        /// After how long it ends, e.g. `90d`; else with the token that makes it, or never.
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// Make the successor of a token and print it, this once: the same name, role, scope and team, for as long again. An
    /// editor cannot make its own live longer.
    Rotate {
        /// Its id, as `elbow get tokens` shows it.
        id: String,
        /// For how long the former stays valid, e.g. `1h`; else it ends now.
        #[arg(long)]
        overlap: Option<String>,
    },
    /// End a token and those that it made as an editor's, now or after a time. What an admin's token made stays:
    /// `elbow get audit` has it.
    #[command(alias = "revoke")]
    End {
        /// Its id, as `elbow get tokens` shows it.
        id: String,
        /// For how long it stays valid, e.g. `1h`.
        #[arg(long)]
        overlap: Option<String>,
    },
}

impl Token {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        match self {
            Self::Create {
                name,
                role,
                scope,
                team,
                expires_in,
            } => {
                let mut body = json!({ "name": name, "role": role });
                if !scope.is_empty() {
                    body["scope"] = scope.into();
                }
                if let Some(team) = team {
                    body["team"] = team.into();
                }
                if let Some(expires_in) = expires_in {
                    body["expiresIn"] = expires_in.into();
                }
                let answer = client.post(&["tokens"], Vec::new(), Some(&body)).await?;
                // Alone, for scripts.
                console.line(answer["token"].as_str().unwrap_or_default())
            }
            Self::Rotate { id, overlap } => {
                let path = ["tokens", &id, "rotate"];
                let answer = client.post(&path, kept_for(overlap.as_deref()), None).await?;
                console.line(answer["token"].as_str().unwrap_or_default())
            }
            Self::End { id, overlap } => {
                let query = kept_for(overlap.as_deref());
                let _: Value = client.delete(&["tokens", &id], query).await?;
                let when = overlap.map_or_else(String::new, |overlap| format!(" in {overlap}"));
                console.line(format_args!("token/{id} ends{when}"))
            }
        }
    }
}

fn kept_for(overlap: Option<&str>) -> Query<'static> {
    overlap
        .map(|overlap| ("overlap", overlap.to_owned()))
        .into_iter()
        .collect()
}
