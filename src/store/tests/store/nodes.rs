//! Nodes: stated whole or not at all, forgotten with the last binding, and heard of by those whom they concern.

use std::collections::BTreeMap;

use anyhow::Result;
use model::{
    binding::{IngressRule, OpenPort, Peer},
    fact::{ObjectVersion, Protocol, Stated},
    group::BoundService,
    node::{Node, NodeReady, NodeRef, Taint},
    plan::RelistRequest,
    stream::{Change, Confirm, NodeReading},
    target::TargetType,
};
use store::{Ingested, Wake};

use crate::support::{Fixture, arn, heard, judged, object, rows, service, slice, source, spec, uid};

/// Bindings to an ip group `web` and an instance group `ports`.
async fn bound() -> Result<Fixture> {
    let fixture = Fixture::new().await?;
    let mut instance = spec("ports", "ports");
    instance.target_type = Some(TargetType::Instance);
    fixture
        .upsert([source("web"), judged("ports", 1, Ok(instance))])
        .await?;
    Ok(fixture)
}

fn node(name: &str, resource_version: u64, ready: NodeReady) -> Node {
    Node {
        name: name.to_owned(),
        version: ObjectVersion {
            uid: uid(name),
            resource_version,
        },
        provider_id: Some(format!("aws:///eu-central-1a/{}", instance(name))),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        taints: Vec::new(),
        ready,
        unschedulable: false,
    }
}

fn instance(name: &str) -> String {
    format!("i-{:0>17x}", name.bytes().map(u64::from).sum::<u64>())
}

impl Fixture {
    async fn nodes(&self, change: Change<Node, NodeRef>) -> Result<Ingested> {
        Ok(self.store.ingest_nodes(self.stream, &change).await?)
    }

    async fn reset_nodes(&self, nodes: Vec<Node>) -> Result<Ingested> {
        self.nodes(Change::Reset(nodes)).await
    }

    async fn patch_nodes(&self, upserted: Vec<Node>, deleted: Vec<NodeRef>) -> Result<Ingested> {
        self.nodes(Change::Patch { upserted, deleted }).await
    }

    async fn bound_to(&self, group: &str) -> Result<BoundService> {
        Ok(self.snapshot(&arn(group)).await?.bindings.remove(0))
    }

    async fn hosts(&self, group: &str) -> Result<Stated<BTreeMap<String, Option<String>>>> {
        Ok(self.bound_to(group).await?.nodes.hosts.clone())
    }

    /// Whether the group hears of these nodes.
    async fn wakes(&mut self, group: &str, nodes: Change<Node, NodeRef>) -> Result<bool> {
        let mut listener = self.store.listen().await?;
        self.nodes(nodes).await?;
        let wakes = heard(&mut listener, &mut self.sql).await?;
        Ok(wakes.contains(&Wake::Group(arn(group))))
    }

    /// The names of the nodes that the instance group is shown; `None`: it does not know.
    async fn node_names(&self) -> Result<Option<Vec<String>>> {
        let nodes = self.bound_to("ports").await?.nodes.nodes.clone();
        let names = |nodes: &Vec<model::node::StoredNode>| {
            nodes.iter().map(|stored| stored.node.name.clone()).collect()
        };
        Ok(nodes.known().map(names))
    }
}

#[tokio::test]
async fn nodes_are_unknown_until_a_reset_says_which_there_are() -> Result<()> {
    let fixture = bound().await?;
    assert_eq!(fixture.node_names().await?, None);
    let patched = fixture
        .patch_nodes(vec![node("a", 1, NodeReady::True)], vec![])
        .await?;
    assert!(patched.needs_reset);
    assert_eq!(fixture.node_names().await?, None);
    fixture.reset_nodes(vec![node("a", 1, NodeReady::True)]).await?;
    fixture
        .patch_nodes(vec![node("b", 2, NodeReady::True)], vec![])
        .await?;
    assert_eq!(
        fixture.node_names().await?,
        Some(vec!["a".to_owned(), "b".to_owned()])
    );
    fixture
        .store
        .ingest_unsynced(fixture.stream, "Node", None, "403: forbidden")
        .await?;
    let nodes = fixture.bound_to("ports").await?.nodes;
    assert_eq!(nodes.unsynced.as_deref(), Some("403: forbidden"));
    assert_eq!(nodes.nodes.known().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test]
async fn an_older_state_of_a_node_is_passed_over_and_an_equal_one_writes_nothing() -> Result<()> {
    let mut fixture = bound().await?;
    fixture.reset_nodes(vec![node("a", 5, NodeReady::True)]).await?;
    let before = rows(&mut fixture.sql).await?;
    fixture
        .patch_nodes(vec![node("a", 4, NodeReady::False)], vec![])
        .await?;
    fixture.reset_nodes(vec![node("a", 5, NodeReady::True)]).await?;
    assert_eq!(rows(&mut fixture.sql).await?, before);
    let stale = store::Stream {
        epoch: fixture.stream.epoch - 1,
        ..fixture.stream
    };
    let nothing = Change::Reset(Vec::new());
    assert!(fixture.store.ingest_nodes(stale, &nothing).await.is_err());
    assert_eq!(fixture.node_names().await?, Some(vec!["a".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn a_change_of_a_node_wakes_instance_groups_and_one_to_or_from_unknown_wakes_all() -> Result<()> {
    let mut fixture = bound().await?;
    let (web, ports) = (Wake::Group(arn("web")), Wake::Group(arn("ports")));
    let steps = [
        (node("a", 1, NodeReady::True), vec![ports.clone()]),
        (node("a", 2, NodeReady::True), vec![]),
        (node("a", 3, NodeReady::False), vec![ports.clone()]),
        (node("a", 4, NodeReady::Unknown), vec![ports.clone(), web.clone()]),
        (node("a", 5, NodeReady::True), vec![ports.clone(), web.clone()]),
    ];
    fixture.reset_nodes(vec![]).await?;
    for (node, expected) in steps {
        let mut listener = fixture.store.listen().await?;
        let said = format!("{node:?}");
        fixture.patch_nodes(vec![node], vec![]).await?;
        let mut wakes = heard(&mut listener, &mut fixture.sql).await?;
        wakes.sort_by_key(|wake| format!("{wake:?}"));
        assert_eq!(wakes, expected, "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn an_ip_group_is_shown_the_names_of_unknown_nodes_and_nothing_else() -> Result<()> {
    let fixture = bound().await?;
    fixture
        .reset_nodes(vec![
            node("a", 1, NodeReady::True),
            node("b", 1, NodeReady::Unknown),
        ])
        .await?;
    let nodes = fixture.bound_to("web").await?.nodes;
    assert_eq!(nodes.nodes, Stated::Unknown);
    assert_eq!(nodes.unknown, ["b".to_owned()].into());
    Ok(())
}

#[tokio::test]
async fn a_group_that_opens_ports_before_addresses_is_shown_the_instances_of_their_nodes_and_hears_of_them()
-> Result<()> {
    let mut fixture = bound().await?;
    let mut opens = spec("opens", "opens");
    opens.networking = vec![IngressRule {
        from: vec![Peer::Cidr("10.0.0.0/8".parse()?)],
        ports: vec![OpenPort {
            protocol: Protocol::Tcp,
            port: None,
        }],
    }];
    fixture.upsert([judged("opens", 1, Ok(opens))]).await?;
    fixture
        .store
        .ingest_service(fixture.stream, &object("opens"), Some(&service("opens", 1)))
        .await?;
    let mut slice = slice("opens-1", "opens", 1, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    for (endpoint, node) in slice.endpoints.iter_mut().zip(["a", "fargate", "c"]) {
        endpoint.node = Some(node.to_owned());
    }
    fixture
        .store
        .ingest_slices(fixture.stream, &object("opens"), &Change::Reset(vec![slice]))
        .await?;
    assert_eq!(fixture.hosts("opens").await?, Stated::Unknown);

    let fargate = Node {
        provider_id: Some("aws:///eu-central-1a/fargate-ip-10-0-0-2".to_owned()),
        ..node("fargate", 1, NodeReady::True)
    };
    let stated = vec![
        node("a", 1, NodeReady::True),
        node("b", 1, NodeReady::True),
        fargate,
    ];
    let patch = |node| Change::Patch {
        upserted: vec![node],
        deleted: Vec::new(),
    };
    assert!(fixture.wakes("opens", Change::Reset(stated)).await?);
    let known = [
        ("a".to_owned(), Some(instance("a"))),
        ("fargate".to_owned(), None),
    ];
    assert_eq!(fixture.hosts("opens").await?, Stated::Known(known.clone().into()));
    assert_eq!(fixture.hosts("web").await?, Stated::Unknown, "it opens nothing");
    assert_eq!(fixture.hosts("ports").await?, Stated::Unknown, "it has all nodes");

    assert!(
        !fixture
            .wakes("opens", patch(node("a", 2, NodeReady::False)))
            .await?
    );
    assert!(
        fixture
            .wakes("opens", patch(node("c", 1, NodeReady::True)))
            .await?
    );
    let joined = [("c".to_owned(), Some(instance("c")))];
    assert_eq!(
        fixture.hosts("opens").await?,
        Stated::Known(known.into_iter().chain(joined).collect())
    );
    Ok(())
}

#[tokio::test]
async fn a_node_that_left_is_remembered_by_its_instance_until_another_stands_for_it() -> Result<()> {
    let fixture = bound().await?;
    fixture
        .reset_nodes(vec![node("a", 1, NodeReady::True), node("b", 1, NodeReady::True)])
        .await?;
    let a = node("a", 1, NodeReady::True).node_ref();
    // Not the node of that name.
    let other = NodeRef {
        uid: uid("other"),
        ..a.clone()
    };
    fixture.patch_nodes(vec![], vec![other]).await?;
    assert_eq!(fixture.node_names().await?.unwrap().len(), 2);

    fixture.patch_nodes(vec![], vec![a.clone()]).await?;
    let departures = fixture.bound_to("ports").await?.nodes.departures.clone();
    assert_eq!(departures.len(), 1);
    assert_eq!(
        (
            &departures[0].node,
            departures[0].instance.as_str(),
            departures[0].gone
        ),
        (&a, instance("a").as_str(), false)
    );
    fixture
        .store
        .ingest_nodes_gone(fixture.stream, std::slice::from_ref(&a))
        .await?;
    assert!(fixture.bound_to("ports").await?.nodes.departures[0].gone);

    // A reset that lacks a node takes it away, without proof.
    fixture.reset_nodes(vec![]).await?;
    let departures = fixture.bound_to("ports").await?.nodes.departures.clone();
    assert_eq!(
        departures
            .iter()
            .map(|departure| departure.gone)
            .collect::<Vec<_>>(),
        [true, false]
    );
    let mut again = node("a", 9, NodeReady::True);
    again.version.uid = uid("another");
    fixture.patch_nodes(vec![again], vec![]).await?;
    assert_eq!(fixture.bound_to("ports").await?.nodes.departures.len(), 1);
    Ok(())
}

#[tokio::test]
async fn live_reads_of_nodes_confirm_what_is_stored_and_prove_what_is_gone() -> Result<()> {
    let fixture = bound().await?;
    let (a, b) = (node("a", 3, NodeReady::True), node("b", 3, NodeReady::True));
    fixture.reset_nodes(vec![a.clone(), b.clone()]).await?;
    fixture
        .store
        .ingest_service(fixture.stream, &object("ports"), Some(&service("ports", 1)))
        .await?;
    let request = RelistRequest {
        cluster: fixture.cluster,
        service: object("ports"),
        pods: Vec::new(),
        nodes: vec![a.node_ref(), b.node_ref()],
    };
    fixture.store.request_relists(&[request]).await?;
    let asked = fixture.store.relists(fixture.cluster).await?;
    assert_eq!(asked[0].nodes.len(), 2);

    let mut tainted = a.clone();
    tainted.version.resource_version = 7;
    tainted.taints = vec![Taint {
        key: "k".into(),
        effect: "NoSchedule".into(),
    }];
    let reading = |node: &Node, found| NodeReading {
        node: node.node_ref(),
        found,
    };
    let confirm = Confirm {
        relist_id: asked[0].id,
        object: object("ports"),
        service: Some(service("ports", 1)),
        slices: Vec::new(),
        pods: Vec::new(),
        nodes: vec![reading(&a, Some(tainted.clone())), reading(&b, None)],
    };
    fixture.store.ingest_confirm(fixture.stream, &confirm).await?;
    let nodes = fixture.bound_to("ports").await?.nodes;
    let stored = nodes.nodes.known().unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(
        (&stored[0].node, stored[0].confirmed_at.is_some()),
        (&tainted, true)
    );
    assert_eq!((nodes.departures.len(), nodes.departures[0].gone), (1, true));

    // What the stream says next is not confirmed.
    let mut newer = tainted.clone();
    newer.version.resource_version = 8;
    newer.taints.clear();
    fixture.patch_nodes(vec![newer], vec![]).await?;
    let nodes = fixture.bound_to("ports").await?.nodes.nodes.clone();
    assert_eq!(nodes.known().unwrap()[0].confirmed_at, None);
    // And an old read does not confirm it.
    fixture.store.ingest_confirm(fixture.stream, &confirm).await?;
    let nodes = fixture.bound_to("ports").await?.nodes.nodes.clone();
    assert_eq!(nodes.known().unwrap()[0].confirmed_at, None);
    Ok(())
}

#[tokio::test]
async fn nodes_are_wanted_while_there_is_a_binding_and_asked_for_anew_when_there_is_one_again() -> Result<()>
{
    let fixture = Fixture::new().await?;
    let wanted = async || anyhow::Ok(fixture.store.subscriptions(fixture.cluster).await?.nodes);
    assert_eq!(wanted().await?, None);
    let ignored = fixture.reset_nodes(vec![node("a", 1, NodeReady::True)]).await?;
    assert_eq!((ignored.written, ignored.ignored), (0, 1));

    fixture.upsert([source("ports")]).await?;
    let first = wanted().await?;
    assert!(first.is_some());
    fixture.reset_nodes(vec![node("a", 1, NodeReady::True)]).await?;
    fixture.delete([source("ports")]).await?;
    let fence = fixture.fence().await?;
    fixture.store.finish_bindings(&fence, &arn("ports")).await?;
    assert_eq!(wanted().await?, None);
    fixture.upsert([source("ports")]).await?;
    assert_ne!(wanted().await?, first);
    assert!(fixture.bound_to("ports").await?.nodes.unknown.is_empty());
    let patched = fixture.patch_nodes(vec![], vec![]).await?;
    assert!(patched.needs_reset);
    Ok(())
}
