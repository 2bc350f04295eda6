use std::path::PathBuf;

use clap::Args;

use super::Failures;
use crate::{
    Console, Error,
    client::Client,
    kind::{Filter, Kind, binding_name},
    manifest,
};

/// Deletes resources.
///
/// A deleted binding lets go of its targets at once. A target group that is still used is refused, and so is a cluster
/// with bindings, unless `--targets` says what becomes of their targets. Of a target group that Elbow manages, `--in-aws` must
/// say what becomes of it; its declaration goes when that is done.
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// The kind, as for `get`; or `--filename`.
    #[arg(
        value_enum,
        ignore_case = true,
        required_unless_present = "files",
        requires = "names"
    )]
    kind: Option<Kind>,
    /// The names. A binding is CLUSTER/NAMESPACE/NAME.
    names: Vec<String>,
    /// A file with manifests, or `-` for standard input; can be given several times.
    #[arg(long = "filename", short = 'f', value_name = "FILE", conflicts_with = "kind")]
    files: Vec<PathBuf>,
    /// What becomes of the targets of clusters: `drain` deregisters them, `keep` leaves them in AWS as nobody's.
    #[arg(long, value_parser = ["drain", "keep"])]
    targets: Option<String>,
    /// What becomes of target groups that Elbow manages: `delete` deletes them in AWS, `keep` leaves them there as nobody's.
    #[arg(long, value_parser = ["delete", "keep"])]
    in_aws: Option<String>,
    /// The cluster of bindings that are named without.
    #[arg(long, short)]
    cluster: Option<String>,
    /// The namespace of bindings that are named without.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Say what would be, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Delete {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            kind,
            names,
            files,
            targets,
            in_aws,
            cluster,
            namespace,
            dry_run,
        } = self;
        let filter = Filter {
            cluster,
            namespace,
            ..Filter::default()
        };
        let mut paths = Vec::new();
        if let Some(kind) = kind {
            for name in names {
                paths.push((kind, name.clone(), path(kind, &name, &filter)?));
            }
        }
        // What was made last goes first: it may stand on what was made before.
        let manifests = manifest::own(&files, console)?.into_iter().rev();
        paths.extend(manifests.map(|manifest| (manifest.kind, manifest.name, manifest.path)));
        let mut failures = Failures::default();
        for (kind, name, path) in paths {
            let what = format!("{}/{name}", kind.singular());
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            let dry = dry_run.then(|| ("dryRun", "true".to_owned()));
            let targets = targets.clone().filter(|_| kind == Kind::Clusters);
            let in_aws = in_aws.clone().filter(|_| kind == Kind::TargetGroups);
            let chosen = targets.map(|targets| ("targets", targets));
            let chosen = chosen.into_iter().chain(in_aws.map(|in_aws| ("inAws", in_aws)));
            let query = dry.into_iter().chain(chosen);
            let query = query.collect();
            let deleted = client.delete(&path, query).await;
            let told = deleted.and_then(|_| {
                console.line(format_args!(
                    "{what} deleted{}",
                    if dry_run { " (dry run)" } else { "" }
                ))
            });
            failures.note(&what, told);
        }
        failures.end()
    }
}

fn path(kind: Kind, name: &str, filter: &Filter) -> Result<Vec<String>, Error> {
    match kind {
        Kind::Accounts => Ok(vec!["accounts".to_owned(), name.to_owned()]),
        Kind::Teams => Ok(vec!["teams".to_owned(), name.to_owned()]),
        Kind::Clusters => Ok(vec!["clusters".to_owned(), name.to_owned()]),
        Kind::TargetGroups => Ok(vec!["target-groups".to_owned(), name.to_owned()]),
        Kind::Bindings => {
            let [cluster, namespace, name] = binding_name(name, filter)?;
            Ok(vec![
                "clusters".to_owned(),
                cluster,
                "bindings".to_owned(),
                namespace,
                name,
            ])
        }
        Kind::Holds | Kind::Shards => Err(Error::usage(format!(
            "a {kind} is not deleted but released: `elbow release {kind} {name}`",
            kind = kind.singular()
        ))),
        Kind::Pauses => Err(Error::usage("a pause is ended by `elbow resume`")),
        Kind::Tokens => Err(Error::usage(format!(
            "a token is ended by `elbow token end {name}`"
        ))),
        Kind::Endpoints | Kind::Fleet | Kind::Plans | Kind::SecurityGroups | Kind::Audit | Kind::Events => {
            Err(Error::usage(format!(
                "{} are what was stated and done; they cannot be deleted",
                kind.singular()
            )))
        }
    }
}
