use clap::Subcommand;
use serde_json::{Value, json};

use crate::{Console, Error, client::Client};

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token for a person or a portal and print it, this once. Those made before under the name stay valid.
    Create {
        /// Who owns it; the audit log says this name.
        name: String,
        #[arg(long, value_parser = ["admin", "editor", "viewer"])]
        role: String,
        /// After how long it ends, e.g. `90d`; else never by itself.
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// End a token, now or after a time.
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
                expires_in,
            } => {
                let mut body = json!({ "name": name, "role": role });
                if let Some(expires_in) = expires_in {
                    body["expiresIn"] = expires_in.into();
                }
                let answer = client.post(&["tokens"], Vec::new(), Some(&body)).await?;
                // Alone, for scripts.
                console.line(answer["token"].as_str().unwrap_or_default())
            }
            Self::End { id, overlap } => {
                let query = overlap
                    .iter()
                    .map(|overlap| ("overlap", overlap.clone()))
                    .collect();
                let _: Value = client.delete(&["tokens", &id], query).await?;
                let when = overlap.map_or_else(String::new, |overlap| format!(" in {overlap}"));
                console.line(format_args!("token/{id} ends{when}"))
            }
        }
    }
}
