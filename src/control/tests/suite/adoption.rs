//! Taking a binding over: who may, when, and what it says before.

use control::{Error, Kind, Principal, Write, bindings::BindingName, view::AdoptionView};
use model::{
    fact::ObjectName,
    ownership::{LBC_FINALIZER, Marks, Pulse, Standing, Surroundings, Webhook, WebhookKind},
    stream::{Change, Source, Statement},
};

use crate::support::{ARN, Fixture, WRITE, by_arn, hello, name, source, sources, state};

fn of_lbc(version: i64) -> Source {
    Source {
        marks: Some(Marks {
            finalizers: [LBC_FINALIZER.to_owned()].into(),
            ..Marks::default()
        }),
        ..source("web", version, by_arn(ARN))
    }
}

impl Fixture {
    async fn adopt(&self, who: &Principal, lbc_is_gone: bool, dry_run: bool) -> Result<AdoptionView, Error> {
        let binding = BindingName {
            cluster: name("one"),
            object: ObjectName::new("default", "web"),
        };
        self.control
            .adopt_binding(who, &binding, lbc_is_gone, Write { dry_run, ..WRITE })
            .await
    }
}

fn seen(lbc: Option<Pulse>) -> Statement {
    let surroundings = Some(Surroundings {
        webhooks: Some(vec![Webhook {
            kind: WebhookKind::Validating,
            name: "aws-load-balancer-webhook".to_owned(),
        }]),
        lbc,
    });
    Statement::Heartbeat { surroundings }
}

#[tokio::test]
async fn an_object_is_taken_over_once_the_load_balancer_controller_is_gone() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    fixture.declare("web", ARN, &["one"]).await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    state(&mut session, 1, sources(Change::Reset(vec![of_lbc(1)]))).await?;

    let refused = fixture.adopt(&fixture.viewer, true, false).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    // Each ground to refuse says what to do.
    let unseen = fixture.adopt(&fixture.admin, false, false).await.unwrap_err();
    assert_eq!(unseen.kind(), Kind::Conflict);
    assert!(unseen.to_string().contains("lbcIsGone"), "{unseen}");
    let beats = Pulse::Beats {
        lease: "kube-system/aws-load-balancer-controller-leader".to_owned(),
        holder: "lbc-7".to_owned(),
    };
    session.ingest(seen(Some(beats))).await?;
    let alive = fixture.adopt(&fixture.admin, false, false).await.unwrap_err();
    assert!(alive.to_string().contains("lbc-7"), "{alive}");
    session.ingest(seen(Some(Pulse::None))).await?;
    // A heartbeat that says nothing of it leaves it as it was.
    session
        .ingest(Statement::Heartbeat { surroundings: None })
        .await?;

    let dry = fixture.adopt(&fixture.admin, false, true).await?;
    assert_eq!(dry.binding.binding.standing, Standing::ManagedByLBC);
    assert_eq!(
        dry.webhooks[0].removal(),
        "kubectl delete validatingwebhookconfiguration aws-load-balancer-webhook"
    );
    assert_eq!(
        fixture.bindings().await?[0].binding.standing,
        Standing::ManagedByLBC
    );

    let done = fixture.adopt(&fixture.admin, false, false).await?;
    assert_eq!(done.binding.binding.standing, Standing::Adopting);
    let ours = Source {
        marks: Some(Marks::default()),
        ..of_lbc(2)
    };
    let patch = Change::Patch {
        upserted: vec![ours],
        deleted: Vec::new(),
    };
    state(&mut session, 2, sources(patch)).await?;
    assert_eq!(fixture.bindings().await?[0].binding.standing, Standing::Served);
    Ok(())
}

#[tokio::test]
async fn an_operators_word_is_enough_where_the_agent_cannot_say() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    state(&mut session, 1, sources(Change::Reset(vec![of_lbc(1)]))).await?;
    session.ingest(seen(None)).await?;
    assert!(fixture.adopt(&fixture.admin, false, false).await.is_err());
    let done = fixture.adopt(&fixture.admin, true, false).await?;
    assert_eq!(done.binding.binding.standing, Standing::Adopting);
    Ok(())
}

#[tokio::test]
async fn nothing_is_taken_over_that_has_no_meaning_or_no_owner() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    let mut odd = of_lbc(1);
    odd.spec = serde_json::json!({});
    state(&mut session, 1, sources(Change::Reset(vec![odd]))).await?;
    let refused = fixture.adopt(&fixture.admin, true, false).await.unwrap_err();
    assert!(refused.to_string().contains("mended"), "{refused}");
    let unstated = Source {
        marks: None,
        ..source("web", 2, by_arn(ARN))
    };
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    state(&mut session, 1, sources(Change::Reset(Vec::new()))).await?;
    let patch = Change::Patch {
        upserted: vec![unstated],
        deleted: Vec::new(),
    };
    state(&mut session, 2, sources(patch)).await?;
    let refused = fixture.adopt(&fixture.admin, true, false).await.unwrap_err();
    assert!(refused.to_string().contains("upgrade the agent"), "{refused}");
    Ok(())
}
