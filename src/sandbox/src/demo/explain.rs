//! What somebody who goes on by hand needs, as lines to paste into a shell.

use secrecy::ExposeSecret;

use super::say;
use crate::{
    Result,
    elbow::{self, Installation, Server},
    fixture::{self, Tutorial},
    kubernetes::Access,
};

/// Says how to reach everything; the first cluster is the one that the lines are about.
pub(super) fn explain(
    installation: &Installation,
    server: &Server,
    aws: &str,
    tutorial: &Tutorial,
    clusters: &[(&str, &Access)],
) -> Result<()> {
    say("\nEverything is up until Ctrl-C. In another shell:");
    for (index, (name, access)) in clusters.iter().enumerate() {
        let sign = if index == 0 { "  " } else { "  # " };
        let kubeconfig = access.kubeconfig().display();
        say(&format!(
            "{sign}export KUBECONFIG={kubeconfig}   # cluster {name}"
        ));
        if index == 0 && !is_on_path("kubectl") {
            say(&format!("  alias kubectl='{}'", access.shell()));
        }
    }
    let namespace = clusters
        .first()
        .and_then(|(_, access)| access.namespace())
        .map_or_else(String::new, |namespace| format!(" --namespace {namespace}"));
    say(&format!(
        "  kubectl{namespace} get targetgroupbindings,deployments,pods"
    ));

    let elbow = elbow::programs()?.join("elbow");
    say(&format!(
        "\n  export ELBOW_URL={} ELBOW_CA_FILE={} ELBOW_TOKEN_FILE={}",
        server.url,
        installation.authority().display(),
        installation.admin_token_file().display(),
    ));
    say(&format!("  alias elbow={}", elbow.display()));
    say("  elbow get bindings; elbow get clusters; elbow get target-groups; elbow watch");
    say(
        "  curl --cacert $ELBOW_CA_FILE -H \"authorization: Bearer $(cat $ELBOW_TOKEN_FILE)\" $ELBOW_URL/v1/bindings",
    );

    say(&format!(
        "\n  export AWS_ENDPOINT_URL={aws} AWS_REGION={} AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=sandbox",
        fixture::REGION,
        fixture::ACCOUNT,
    ));
    for arn in [&tutorial.target_group, &tutorial.instance_target_group] {
        say(&format!(
            "  aws elbv2 describe-target-health --target-group-arn {arn}"
        ));
    }
    say(&format!(
        "\n  token of the admin  {}\n  logs                {}\n",
        installation.admin_token().expose_secret(),
        installation.folder().display()
    ));
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
