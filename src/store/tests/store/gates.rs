//! Gated pods, and what their gates are to say until it is written.

use anyhow::{Context, Result};
use model::{
    BindingId,
    condition::Truth,
    fact::{ObjectVersion, Stated},
    pod::{Gate, GateState, Pod, PodFacts},
    stream::{Change, Tombstone},
};
use store::{Ingested, Wake};

use crate::support::{Fixture, arn, heard, object, rows, source, uid};

fn gated(name: &str, resource_version: u64) -> Pod {
    Pod {
        object: object(name),
        version: ObjectVersion {
            uid: uid(name),
            resource_version,
        },
        gates: [("web".to_owned(), None)].into(),
        containers_ready: true,
        terminating: false,
        grace_seconds: 30,
    }
}

impl Fixture {
    async fn pods(&self, change: Change<Pod>, grace: Option<u32>) -> Result<Ingested> {
        Ok(self
            .store
            .ingest_pods(self.stream, &object("web"), &change, grace)
            .await?)
    }

    async fn reset_pods(&self, pods: Vec<Pod>) -> Result<Ingested> {
        self.pods(Change::Reset(pods), Some(30)).await
    }

    async fn patch_pods(&self, upserted: Vec<Pod>, deleted: Vec<Tombstone>) -> Result<Ingested> {
        self.pods(Change::Patch { upserted, deleted }, Some(30)).await
    }

    async fn pod_facts(&self) -> Result<PodFacts> {
        Ok(self.snapshot(&arn("web")).await?.bindings.remove(0).facts.pods)
    }

    /// The names of the gated pods; `None`: nobody knows.
    async fn pod_names(&self) -> Result<Option<Vec<String>>> {
        let facts = self.pod_facts().await?;
        let names = facts.gated.known();
        Ok(names.map(|pods| pods.iter().map(|stored| stored.pod.object.name.clone()).collect()))
    }

    fn says(&self, binding: BindingId, pod: &str, status: Truth) -> Gate {
        Gate {
            cluster: self.cluster,
            binding,
            name: "web".to_owned(),
            pod: gated(pod, 1).pod_ref(),
            state: GateState {
                status,
                reason: "Healthy".to_owned(),
                message: String::new(),
            },
        }
    }

    async fn pending(&self) -> Result<Vec<(String, Truth)>> {
        let gates = self.store.gates(self.cluster, 0, 10).await?;
        Ok(gates
            .into_iter()
            .map(|gate| (gate.pod.name, gate.state.status))
            .collect())
    }
}

#[tokio::test]
async fn gated_pods_are_unknown_until_a_reset_says_which_there_are() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    assert!(fixture.patch_pods(vec![gated("a", 1)], vec![]).await?.needs_reset);
    assert_eq!(fixture.pod_names().await?, None);
    let mut listener = fixture.store.listen().await?;
    fixture.reset_pods(vec![gated("a", 5), gated("b", 5)]).await?;
    assert_eq!(
        heard(&mut listener, &mut fixture.sql).await?,
        [Wake::Group(arn("web"))],
        "its group is looked at"
    );
    assert_eq!(fixture.pod_facts().await?.shortest_grace, Some(30));

    // What says the same writes nothing; what is older, of another UID or from an older stream is passed over.
    let before = rows(&mut fixture.sql).await?;
    fixture.reset_pods(vec![gated("a", 5), gated("b", 5)]).await?;
    fixture.patch_pods(vec![gated("a", 4)], vec![]).await?;
    let other = Tombstone {
        object: object("a"),
        uid: uid("another"),
    };
    fixture.patch_pods(vec![], vec![other]).await?;
    let stale = store::Stream {
        epoch: fixture.stream.epoch - 1,
        ..fixture.stream
    };
    let refused = fixture
        .store
        .ingest_pods(stale, &object("web"), &Change::Reset(vec![]), None)
        .await;
    assert!(
        matches!(refused, Err(store::Error::StaleEpoch { .. })),
        "{refused:?}"
    );
    assert_eq!(rows(&mut fixture.sql).await?, before);

    // Their grace alone is news too.
    heard(&mut listener, &mut fixture.sql).await?;
    let nothing = Change::Patch {
        upserted: vec![],
        deleted: vec![],
    };
    assert_eq!(fixture.pods(nothing, Some(90)).await?.written, 1);
    assert_eq!(
        heard(&mut listener, &mut fixture.sql).await?,
        [Wake::Group(arn("web"))]
    );
    assert_eq!(fixture.pod_facts().await?.shortest_grace, Some(90));

    let gone = Tombstone {
        object: object("a"),
        uid: uid("a"),
    };
    fixture.patch_pods(vec![gated("c", 6)], vec![gone]).await?;
    assert_eq!(
        fixture.pod_names().await?,
        Some(vec!["b".to_owned(), "c".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn pods_that_were_not_seen_in_a_namespace_are_seen_there_once_a_reset_states_them() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let shop = object("web").namespace;
    // Older agents name no namespace.
    for namespace in [None, Some(shop.as_str()), Some("elsewhere")] {
        fixture
            .store
            .ingest_unsynced(fixture.stream, "Pod", namespace, "403")
            .await?;
    }
    fixture.reset_pods(vec![gated("a", 1)]).await?;
    let state = fixture.store.cluster_by_id(fixture.cluster).await?;
    let unsynced = state.context("registered")?.unsynced;
    assert_eq!(unsynced.keys().collect::<Vec<_>>(), ["Pod in elsewhere"]);
    Ok(())
}

#[tokio::test]
async fn a_pod_is_known_since_its_uid_is() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    fixture.reset_pods(vec![gated("a", 1)]).await?;
    let since = async || {
        let facts = fixture.pod_facts().await?;
        let pods = facts.gated.known().context("known")?;
        anyhow::Ok(pods[0].since)
    };
    let first = since().await?;
    let mut later = gated("a", 2);
    later.containers_ready = false;
    fixture.patch_pods(vec![later], vec![]).await?;
    assert_eq!(since().await?, first);
    let mut successor = gated("a", 3);
    successor.version.uid = uid("successor");
    fixture.patch_pods(vec![successor], vec![]).await?;
    assert!(since().await? > first);
    Ok(())
}

#[tokio::test]
async fn pods_are_forgotten_with_the_last_binding_of_their_service() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    fixture.reset_pods(vec![gated("a", 1)]).await?;
    let fence = fixture.fence().await?;
    fixture.delete([source("web")]).await?;
    fixture.store.finish_bindings(&fence, &arn("web")).await?;
    fixture.upsert([source("web")]).await?;
    assert_eq!(fixture.pod_names().await?, None);
    assert_eq!(fixture.pod_facts().await?.gated, Stated::Unknown);
    Ok(())
}

#[tokio::test]
async fn a_gate_is_sent_when_it_changes_and_until_it_is_written() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let fence = fixture.fence().await?;
    let web = fixture.binding(&arn("web")).await?.id;
    let mut listener = fixture.store.listen().await?;
    let gates = [
        fixture.says(web, "a", Truth::False),
        fixture.says(web, "b", Truth::True),
    ];
    fixture.store.sync_gates(&fence, &arn("web"), &gates).await?;
    let wakes = heard(&mut listener, &mut fixture.sql).await?;
    assert_eq!(wakes, [Wake::Cluster(fixture.cluster)]);
    let before = rows(&mut fixture.sql).await?;
    fixture.store.sync_gates(&fence, &arn("web"), &gates).await?;
    assert_eq!(rows(&mut fixture.sql).await?, before, "the same again");

    // One changes its mind, the other says by itself what it is to say.
    let last = fixture.store.gates(fixture.cluster, 0, 10).await?[1].version;
    let changed = [fixture.says(web, "a", Truth::True)];
    fixture.store.sync_gates(&fence, &arn("web"), &changed).await?;
    assert_eq!(fixture.pending().await?, [("a".to_owned(), Truth::True)]);
    let news = fixture.store.gates(fixture.cluster, last, 10).await?;
    assert_eq!(news.len(), 1, "above what was sent");

    fixture.store.gate_written(fixture.cluster, last).await?;
    assert_eq!(
        fixture.pending().await?.len(),
        1,
        "that was another one's version"
    );
    fixture
        .store
        .gate_written(fixture.cluster, news[0].version)
        .await?;
    assert_eq!(fixture.pending().await?, []);
    Ok(())
}

#[tokio::test]
async fn what_a_deleted_binding_wants_of_its_gates_outlives_it() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let fence = fixture.fence().await?;
    let web = fixture.binding(&arn("web")).await?.id;
    fixture.delete([source("web")]).await?;
    let open = [fixture.says(web, "a", Truth::True)];
    fixture.store.sync_gates(&fence, &arn("web"), &open).await?;
    assert_eq!(fixture.store.finish_bindings(&fence, &arn("web")).await?, 1);
    fixture.store.sync_gates(&fence, &arn("web"), &[]).await?;
    assert_eq!(fixture.pending().await?, [("a".to_owned(), Truth::True)]);
    Ok(())
}

#[tokio::test]
async fn a_writer_without_the_lease_says_nothing_of_gates() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let fence = fixture.fence().await?;
    let web = fixture.binding(&arn("web")).await?.id;
    sqlx::query("update shards set epoch = epoch + 1")
        .execute(&mut fixture.sql)
        .await?;
    let gates = [fixture.says(web, "a", Truth::True)];
    let refused = fixture.store.sync_gates(&fence, &arn("web"), &gates).await;
    assert!(
        matches!(refused, Err(store::Error::LeaseLost { .. })),
        "{refused:?}"
    );
    assert_eq!(fixture.pending().await?, []);
    Ok(())
}
