use clap::Args;

use crate::{
    Console, Error,
    client::Client,
    kind::{Filter, Kind},
    output::{self, Output},
};

/// Shows resources.
///
/// `elbow get bindings -c east`, `elbow get tg web -o yaml`, `elbow get holds --ended`.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The kind; singular, plural and short names are taken (`target-groups`, `tg`).
    #[arg(value_enum, ignore_case = true)]
    kind: Kind,
    /// Names; all without. A binding is CLUSTER/NAMESPACE/NAME.
    names: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    output: Output,
}

impl Get {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            kind,
            names,
            filter,
            output,
        } = self;
        if let [name] = names.as_slice() {
            let found = kind.get(client, name, &filter).await?;
            return output::one(console, output.format, kind, &found);
        }
        let mut found = Vec::new();
        if names.is_empty() {
            found = kind.list(client, &filter).await?;
        }
        for name in &names {
            found.push(kind.get(client, name, &filter).await?);
        }
        output::list(console, output.format, kind, &found)
    }
}
