use anyhow::Result;
use model::{BindingId, binding::Lifecycle, plan::HoldReason, stream::Change};
use store::{HoldFilter, JudgedSource, StoredHold};

use crate::support::{Fixture, arn, source, uid};

fn many(range: std::ops::Range<u32>) -> Vec<JudgedSource> {
    range.map(|number| source(&format!("web-{number}"))).collect()
}

async fn holds(fixture: &Fixture) -> Result<Vec<StoredHold>> {
    Ok(fixture.store.holds(&HoldFilter::default(), None, 10).await?)
}

async fn lifecycle(fixture: &Fixture, number: u32) -> Result<Lifecycle> {
    Ok(fixture.binding(&arn(&format!("web-{number}"))).await?.lifecycle)
}

/// Ten bindings that have been there for a while.
async fn ten() -> Result<Fixture> {
    let mut fixture = Fixture::new().await?;
    fixture.state(Change::Reset(many(0..10))).await?;
    fixture.age(120).await?;
    Ok(fixture)
}

#[tokio::test]
async fn a_few_deletions_are_taken_at_their_word() -> Result<()> {
    let fixture = ten().await?;
    fixture.state(Change::Reset(many(3..10))).await?;
    assert!(holds(&fixture).await?.is_empty());
    assert!(matches!(lifecycle(&fixture, 0).await?, Lifecycle::Deleted { .. }));
    Ok(())
}

#[tokio::test]
async fn a_list_that_lost_everything_deletes_nothing() -> Result<()> {
    let fixture = ten().await?;
    fixture.state(Change::Reset(Vec::new())).await?;
    let holds = holds(&fixture).await?;
    assert_eq!(
        (holds.len(), holds[0].hold.reason),
        (1, HoldReason::MassUnbinding)
    );
    assert_eq!(holds[0].hold.bindings.len(), 10);
    for number in 0..10 {
        let Lifecycle::DeletionHeld { hold, .. } = lifecycle(&fixture, number).await? else {
            panic!("{number}")
        };
        assert_eq!(hold, holds[0].id);
    }
    Ok(())
}

#[tokio::test]
async fn deletions_one_by_one_add_up_and_those_under_way_are_held_too() -> Result<()> {
    let fixture = ten().await?;
    for number in 0..3 {
        fixture.delete(many(number..number + 1)).await?;
        assert!(matches!(
            lifecycle(&fixture, number).await?,
            Lifecycle::Deleted { .. }
        ));
    }
    fixture.delete(many(3..4)).await?;
    for number in 0..4 {
        assert!(
            matches!(lifecycle(&fixture, number).await?, Lifecycle::DeletionHeld { .. }),
            "{number}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn deletions_of_another_minute_do_not_add_up() -> Result<()> {
    let mut fixture = ten().await?;
    fixture.delete(many(0..2)).await?;
    fixture.age(61).await?;
    fixture.delete(many(2..4)).await?;
    assert!(holds(&fixture).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn while_a_hold_is_open_a_later_deletion_joins_it() -> Result<()> {
    let mut fixture = ten().await?;
    fixture.delete(many(0..5)).await?;
    fixture.age(3600).await?;
    fixture.delete(many(5..6)).await?;
    assert!(matches!(
        lifecycle(&fixture, 5).await?,
        Lifecycle::DeletionHeld { .. }
    ));
    assert_eq!(holds(&fixture).await?[0].hold.bindings.len(), 6);
    Ok(())
}

#[tokio::test]
async fn bindings_that_return_leave_the_hold_and_the_last_one_ends_it() -> Result<()> {
    let fixture = ten().await?;
    let before: Vec<BindingId> = ids(&fixture).await?;
    fixture.state(Change::Reset(Vec::new())).await?;
    // Some as the very objects, some made anew.
    fixture.upsert(many(0..5)).await?;
    assert_eq!(lifecycle(&fixture, 0).await?, Lifecycle::Active);
    assert_eq!(holds(&fixture).await?.len(), 1);
    let anew = many(5..10).into_iter().map(|mut judged| {
        judged.source.version.uid = uid(&format!("{}-anew", judged.source.object.name));
        judged
    });
    fixture.upsert(anew).await?;
    assert!(holds(&fixture).await?.is_empty());
    assert_eq!(ids(&fixture).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_released_mass_unbinding_counts_and_is_not_held_again() -> Result<()> {
    let fixture = ten().await?;
    fixture.delete(many(0..5)).await?;
    let hold = holds(&fixture).await?.remove(0);
    let released = fixture.store.release_hold("operator", hold.id).await?;
    assert_eq!(released.released_by.as_deref(), Some("operator"));
    assert!(matches!(lifecycle(&fixture, 0).await?, Lifecycle::Deleted { .. }));

    fixture.delete(many(5..6)).await?;
    assert!(matches!(lifecycle(&fixture, 0).await?, Lifecycle::Deleted { .. }));
    assert!(matches!(lifecycle(&fixture, 5).await?, Lifecycle::Deleted { .. }));
    assert!(fixture.store.release_hold("operator", hold.id).await.is_err());
    Ok(())
}

#[tokio::test]
async fn deleted_bindings_are_finished_by_the_writer_and_a_hold_of_none_ends() -> Result<()> {
    let fixture = ten().await?;
    fixture.delete(many(0..5)).await?;
    let fence = fixture.fence().await?;
    for number in 0..5 {
        assert_eq!(
            fixture
                .store
                .finish_bindings(&fence, &arn(&format!("web-{number}")))
                .await?,
            1
        );
    }
    assert!(holds(&fixture).await?.is_empty());
    assert_eq!(
        fixture.store.subscriptions(fixture.cluster).await?.services.len(),
        5
    );
    Ok(())
}

async fn ids(fixture: &Fixture) -> Result<Vec<BindingId>> {
    let bindings = fixture
        .store
        .bindings(&store::BindingFilter::default(), None, 100)
        .await?;
    Ok(bindings.into_iter().map(|stored| stored.binding.id).collect())
}
