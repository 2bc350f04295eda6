//! Who acts on an object, as it is stored: by its marks, by what its cluster serves, and by an operator's word.

use anyhow::Result;
use model::{
    binding::Lifecycle,
    cluster::ClusterSpec,
    ownership::{LBC_FINALIZER, Marks, SERVE_LABEL, Serve, Standing},
    plan::Step,
};
use store::{Call, Error, JudgedSource, Outcome};

use crate::support::{
    Fixture, addition, arn, cluster_spec, judged, key, name_of, object, plan, plan_id, source, spec,
};

fn marked(name: &str, resource_version: u64, marks: Option<Marks>) -> JudgedSource {
    let mut judged = judged(name, resource_version, Ok(spec(name, name)));
    judged.source.marks = marks;
    judged
}

fn of_lbc() -> Marks {
    Marks {
        finalizers: [LBC_FINALIZER.to_owned()].into(),
        ..Marks::default()
    }
}

fn labelled(value: &str) -> Marks {
    Marks {
        labels: [(SERVE_LABEL.to_owned(), value.to_owned())].into(),
        ..Marks::default()
    }
}

impl Fixture {
    async fn serve(&self, serve: Serve) -> Result<()> {
        let spec = ClusterSpec {
            serve,
            ..cluster_spec()
        };
        self.store
            .put_cluster("test", &name_of("alpha"), &spec, None)
            .await?;
        let stored = self.store.cluster(&name_of("alpha")).await?.unwrap();
        assert_eq!(stored.cluster.spec, spec, "it reads back");
        Ok(())
    }

    async fn standing(&self, name: &str) -> Result<Standing> {
        let binding = self.binding(&arn(name)).await?;
        assert_eq!(
            binding.lifecycle,
            Lifecycle::Active,
            "nothing here deletes anything"
        );
        Ok(binding.standing)
    }

    async fn subscribed(&self) -> Result<Vec<String>> {
        let subscriptions = self.store.subscriptions(self.cluster).await?;
        Ok(subscriptions
            .services
            .into_iter()
            .map(|it| it.service.name)
            .collect())
    }
}

#[tokio::test]
async fn what_a_cluster_serves_changes_who_acts_and_deletes_nothing() -> Result<()> {
    use Standing::{ManagedByLBC, NotServed, Served};

    let fixture = Fixture::new().await?;
    fixture
        .upsert([
            marked("bare", 1, Some(Marks::default())),
            marked("yes", 1, Some(labelled("true"))),
            marked("no", 1, Some(labelled("false"))),
            marked("lbc", 1, Some(of_lbc())),
        ])
        .await?;
    let standings = async || {
        let mut all = Vec::new();
        for name in ["bare", "yes", "no", "lbc"] {
            all.push(fixture.standing(name).await?);
        }
        anyhow::Ok(all)
    };
    assert_eq!(standings().await?, [Served, Served, NotServed, ManagedByLBC]);
    assert_eq!(
        fixture.subscribed().await?,
        ["bare", "lbc", "yes"],
        "what is planned is watched"
    );
    fixture.serve(Serve::Labelled).await?;
    assert_eq!(standings().await?, [NotServed, Served, NotServed, ManagedByLBC]);
    assert_eq!(fixture.subscribed().await?, ["lbc", "yes"]);
    fixture.serve(Serve::None).await?;
    assert_eq!(
        standings().await?,
        [NotServed, NotServed, NotServed, ManagedByLBC]
    );
    fixture.serve(Serve::All).await?;
    assert_eq!(standings().await?, [Served, Served, NotServed, ManagedByLBC]);
    Ok(())
}

#[tokio::test]
async fn an_agent_that_does_not_say_whose_an_object_is_changes_nothing_and_starts_nothing() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture
        .upsert([
            source("web"),
            marked("lbc", 1, Some(of_lbc())),
            marked("new", 1, None),
        ])
        .await?;
    assert_eq!(fixture.standing("new").await?, Standing::Unstated);
    fixture
        .upsert([
            marked("web", 2, None),
            marked("lbc", 2, None),
            marked("new", 2, None),
        ])
        .await?;
    assert_eq!(fixture.standing("web").await?, Standing::Served);
    assert_eq!(fixture.standing("lbc").await?, Standing::ManagedByLBC);
    fixture.upsert([marked("new", 3, Some(Marks::default()))]).await?;
    assert_eq!(fixture.standing("new").await?, Standing::Served);
    Ok(())
}

#[tokio::test]
async fn an_adopted_object_is_ours_once_the_finalizer_is_gone_and_contested_if_it_comes_back() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.serve(Serve::Labelled).await?;
    fixture.upsert([marked("web", 1, Some(of_lbc()))]).await?;
    let binding = fixture.binding(&arn("web")).await?;
    let stale = fixture.store.adopt("me", binding.id, binding.version + 1).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    let adopted = fixture.store.adopt("me", binding.id, binding.version).await?;
    assert_eq!(adopted, Standing::Adopting);
    let entry = fixture.store.audit(None, None, None, None, 1).await?.remove(0);
    assert_eq!(
        (entry.actor.as_str(), entry.action.as_str()),
        ("me", "binding.adopt")
    );
    assert_eq!(entry.object, object("web").to_string());
    // Stated again before the agent has done its part.
    fixture.upsert([marked("web", 2, Some(of_lbc()))]).await?;
    assert_eq!(fixture.standing("web").await?, Standing::Adopting);
    fixture.upsert([marked("web", 3, Some(Marks::default()))]).await?;
    assert_eq!(
        fixture.standing("web").await?,
        Standing::Served,
        "although it has no label"
    );
    fixture.upsert([marked("web", 4, Some(of_lbc()))]).await?;
    assert_eq!(fixture.standing("web").await?, Standing::Contested);
    fixture
        .upsert([marked("web", 5, Some(labelled("false")))])
        .await?;
    assert_eq!(fixture.standing("web").await?, Standing::NotServed);
    Ok(())
}

#[tokio::test]
async fn a_vanished_target_that_was_registered_again_is_remembered_until_an_adoption() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let (fence, binding) = (fixture.fence().await?, fixture.binding(&arn("web")).await?);
    let register = async |outcome| {
        let step = Step::Register {
            targets: vec![addition("10.0.0.1", &[binding.id])],
        };
        let id = plan_id();
        fixture
            .store
            .intend(&fence, id, &plan("web", vec![step.clone()]), &[step])
            .await?;
        let call = Call {
            targets: vec![key("10.0.0.1")],
            outcome,
            request_id: None,
        };
        fixture
            .store
            .settle(&fence, id, &arn("web"), &[call], None)
            .await?;
        anyhow::Ok(fixture.snapshot(&arn("web")).await?.drifts.len())
    };
    assert_eq!(
        register(Outcome::Acknowledged).await?,
        0,
        "the first time it is new"
    );
    assert_eq!(register(Outcome::Failed).await?, 0, "nothing was brought back");
    assert_eq!(register(Outcome::Acknowledged).await?, 1);
    assert_eq!(register(Outcome::Ambiguous).await?, 1);
    assert_eq!(
        register(Outcome::Acknowledged).await?,
        2,
        "known to be there at last"
    );
    let version = fixture.binding(&arn("web")).await?.version;
    fixture.store.adopt("me", binding.id, version).await?;
    assert_eq!(fixture.snapshot(&arn("web")).await?.drifts, []);
    Ok(())
}

#[tokio::test]
async fn many_deletions_of_what_somebody_else_acts_on_are_no_mass_unbinding_of_ours() -> Result<()> {
    let fixture = Fixture::new().await?;
    let theirs: Vec<_> = (0..6)
        .map(|number| marked(&format!("lbc-{number}"), 1, Some(of_lbc())))
        .collect();
    fixture.upsert(theirs.clone()).await?;
    fixture.upsert([source("web")]).await?;
    fixture.delete(theirs).await?;
    fixture.delete([source("web")]).await?;
    let lifecycle = fixture.binding(&arn("web")).await?.lifecycle;
    assert!(matches!(lifecycle, Lifecycle::Deleted { .. }), "{lifecycle:?}");
    Ok(())
}
