//! Clusters of the user's own. The agents run on this machine with the rights of the kubeconfigs, look at one namespace
//! that the demo makes, and the AWS is simulated as ever. What is to be done is said before, and undone afterwards.

use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{
    House, SECOND_CLUSTER, Stage, say,
    sharing::{self, Actor},
    tutorial,
};
use crate::{
    Error, Result, Scratch, elbow, fixture,
    kubernetes::{Access, Binaries},
    process::Process,
};

const NAMESPACE: &str = "elbow-demo";
const KIND: &str = "targetgroupbindings.elbv2.k8s.aws";
/// What the names of the AWS Load Balancer Controller's webhooks end with.
const LBC_WEBHOOKS: &str = ".elbv2.k8s.aws";
const NAMES: [&str; 2] = ["firstcluster", SECOND_CLUSTER];

/// A cluster of the user's own.
pub(super) struct Guest {
    name: &'static str,
    access: Access,
    server: String,
    /// Whether the cluster has no definition of TargetGroupBinding.
    undefined: bool,
    _folder: Scratch,
}

/// Looks at the clusters, and changes nothing. One that the demo could harm, or that could harm the demo, is refused.
pub(super) fn look(kubeconfigs: &[PathBuf]) -> Result<Vec<Guest>> {
    if kubeconfigs.len() > NAMES.len() {
        let message = "--kubeconfig is given more than twice: the demo plays with one cluster or two";
        return Err(Error::Elbow(message.to_owned()));
    }
    let guests = NAMES.into_iter().zip(kubeconfigs);
    let guests = guests
        .map(|(name, kubeconfig)| Guest::look(name, kubeconfig))
        .collect::<Result<Vec<_>>>()?;
    if let [first, second] = &guests[..]
        && first.server == second.server
    {
        let server = &first.server;
        return Err(Error::Elbow(format!(
            "both kubeconfigs lead to {server}: give two clusters, or one"
        )));
    }
    Ok(guests)
}

impl Guest {
    fn look(name: &'static str, kubeconfig: &Path) -> Result<Self> {
        let folder = Scratch::new(name)?;
        // Elsewhere this program's own folder is not the user's.
        let kubeconfig = std::path::absolute(kubeconfig).map_err(Error::file("finding", kubeconfig))?;
        let access = Access::new(Binaries::api_only()?, kubeconfig, folder.path()).in_namespace(NAMESPACE);
        let server = access
            .run("config view --minify -o jsonpath={.clusters[0].cluster.server}")?
            .stdout;
        let absent = |what: &str| {
            let said = access.run(&format!("get {what} --ignore-not-found -o name"))?;
            Ok::<_, Error>(said.stdout.trim().is_empty())
        };
        if !absent(&format!("namespace {NAMESPACE}"))? {
            return Err(Error::Elbow(format!(
                "{server} has a namespace {NAMESPACE} already: if a demo left it behind, remove it by `kubectl \
                 --kubeconfig {} delete namespace {NAMESPACE}`",
                access.kubeconfig().display()
            )));
        }
        for kind in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
            if let Some(webhook) = lbc(&access.get(kind)?) {
                return Err(Error::Elbow(format!(
                    "the AWS Load Balancer Controller guards TargetGroupBindings in {server} (webhook {webhook}) and would \
                     act on the demo's: give another cluster"
                )));
            }
        }
        Ok(Self {
            undefined: absent(&format!("crd {KIND}"))?,
            name,
            access,
            server,
            _folder: folder,
        })
    }

    /// Says what will be done.
    fn announce(&self) {
        let definition = if self.undefined {
            format!(" and the definition {KIND}, which it lacks")
        } else {
            String::new()
        };
        say(&format!(
            "  {} ({}): makes namespace {NAMESPACE}{definition}",
            self.name, self.server
        ));
    }

    fn prepare(&self) -> Result<()> {
        if self.undefined {
            elbow::define(&self.access)?;
        }
        self.access
            .run(&format!("create namespace {NAMESPACE}"))
            .map(drop)
    }

    async fn agent(&self, house: &House) -> Result<Process> {
        let token = house.server.register_cluster(self.name, "full").await?;
        let options = [("--namespace", NAMESPACE), ("--lease-namespace", NAMESPACE)];
        let (instance, kubeconfig) = (format!("agent-of-{}", self.name), self.access.kubeconfig());
        house
            .installation
            .agent_as(
                self.name,
                &instance,
                &token,
                kubeconfig,
                &[&house.server],
                &options,
            )
            .await
    }

    /// Begins to undo what [`Self::prepare`] did. Pods first, since a namespace waits for their grace periods.
    fn clear(&self) -> Result<()> {
        for words in [
            "delete deployments --all --wait=false".to_owned(),
            "delete pods --all --grace-period=1".to_owned(),
            format!("delete namespace {NAMESPACE} --ignore-not-found --wait=false"),
        ] {
            self.access.run(&words)?;
        }
        Ok(())
    }

    /// Ends it. A definition that somebody has begun to use meanwhile is left.
    fn leave(&self) -> Result<()> {
        self.access
            .run(&format!("wait --for=delete namespace/{NAMESPACE} --timeout=120s"))?;
        say(&format!("Removed namespace {NAMESPACE} from {}.", self.name));
        if !self.undefined {
            return Ok(());
        }
        let left = self.access.run(&format!("get {KIND} --all-namespaces -o name"))?;
        if left.stdout.trim().is_empty() {
            self.access.run(&format!("delete crd {KIND}"))?;
            say(&format!("Removed the definition {KIND} from {}.", self.name));
        } else {
            say(&format!(
                "Left the definition {KIND} in {}: it is in use.",
                self.name
            ));
        }
        Ok(())
    }

    pub(super) fn as_shown(&self) -> (&str, &Access) {
        (self.name, &self.access)
    }

    fn actor<'a>(&'a self, binding: &'a str) -> Actor<'a> {
        Actor {
            name: self.name,
            access: &self.access,
            binding,
        }
    }

    /// The ranges that nodes give their pods addresses from, where Kubernetes knows them.
    fn pod_ranges(&self) -> Result<Vec<Ipv4Net>> {
        let nodes = self.access.get("nodes")?;
        let nodes = nodes["items"].as_array().into_iter().flatten();
        let ranges = nodes.filter_map(|node| node["spec"]["podCIDR"].as_str()?.parse().ok());
        Ok(ranges.collect())
    }
}

fn lbc(configurations: &Value) -> Option<String> {
    let all = configurations["items"].as_array().into_iter().flatten();
    let webhooks = all.flat_map(|configuration| configuration["webhooks"].as_array().into_iter().flatten());
    let mut names = webhooks.filter_map(|webhook| webhook["name"].as_str());
    names.find(|name| name.ends_with(LBC_WEBHOOKS)).map(str::to_owned)
}

/// Says what will be done in them, does it, plays, and answers what `then` does; whatever becomes of it, the clusters are
/// left as they were.
pub(super) async fn visit(
    house: &House,
    guests: &[Guest],
    play: bool,
    then: impl AsyncFnOnce(&[Guest]) -> Result<()>,
) -> Result<()> {
    say("\nIn your clusters the demo");
    guests.iter().for_each(Guest::announce);
    say(
        "  and removes it again at the end. No program is installed there: the agents run on this machine with the rights\n  \
         of your kubeconfigs, and look at that namespace alone. AWS is simulated on this machine.",
    );
    let done = tokio::select! {
        done = stay(house, guests, play, then) => done,
        () = super::interrupted() => Ok(()),
    };
    // Each as far as it goes: one that does not answer keeps no other from being left.
    let cleared: Vec<_> = guests.iter().map(Guest::clear).collect();
    let left = guests.iter().map(Guest::leave);
    let undone = cleared.into_iter().chain(left.collect::<Vec<_>>());
    done.and(undone.collect())
}

async fn stay(
    house: &House,
    guests: &[Guest],
    play: bool,
    then: impl AsyncFnOnce(&[Guest]) -> Result<()>,
) -> Result<()> {
    let names: Vec<_> = guests.iter().map(|guest| guest.name).collect();
    let arn = &house.tutorial.target_group;
    let mut agents = Vec::new();
    for guest in guests {
        guest.prepare()?;
        agents.push(guest.agent(house).await?);
    }
    house
        .server
        .declare_target_group(fixture::name(arn), arn, &names)
        .await?;
    if play {
        let stage = house.stage();
        // Nobody in this AWS has the addresses of these pods, so there is no security group to open.
        let binding = house.tutorial.ip_binding();
        let binding = binding.split("  networking:").next().unwrap_or_default();
        if let [first, ..] = guests {
            tutorial::play(&stage, &first.access, binding, false).await?;
        }
        if let ([first, second], [_, agent]) = (guests, &mut agents[..]) {
            share(&stage, house, first, second, binding, agent).await?;
        }
    }
    then(guests).await
}

async fn share(
    stage: &Stage<'_>,
    house: &House,
    first: &Guest,
    second: &Guest,
    binding: &str,
    agent: &mut Process,
) -> Result<()> {
    let (ours, theirs) = (first.pod_ranges()?, second.pod_ranges()?);
    let common = ours.iter().find(|range| {
        theirs
            .iter()
            .any(|other| range.contains(other) || other.contains(*range))
    });
    if let Some(range) = common {
        say(&format!(
            "\n5. Two clusters on one target group are left out: the pods of both have addresses in {range}, and AWS could \
             not tell them apart"
        ));
        return Ok(());
    }
    sharing::play(
        stage,
        &house.server,
        &first.actor(binding),
        &second.actor(binding),
        agent,
    )
    .await
}
