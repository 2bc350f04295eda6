//! Is this the database that we knew?
//!
//! A database that went back in time has forgotten registrations, removals and deletions; removing anything by what it
//! still says could remove what is needed. Three signs are looked for, and each marks every shard as restored, which
//! holds all removals until an operator releases the shard:
//!
//! - [`Store::check_identity`], when a server starts: the system identifier (another `initdb`, as after restoring a dump)
//!   or the timeline (point-in-time recovery, or the promotion of a standby, which may lack the last commits) is not what
//!   it was.
//! - [`Store::open_stream`], when an agent connects: it was given an epoch that the database does not know.
//! - [`Store::lease`]'s caller, when it renews: the deadline that it was promised is later than the one that the database
//!   knows; [`Store::went_back`] is told then.
//!
//! The last two tell when the data directory was replaced by an older copy of itself, which has the same identifier and
//! timeline. A copy that is younger than the last connect of every agent, put back while no server ran, looks like the
//! database that we knew.

use model::ClusterId;

use crate::{Op, Result, Store, database::transaction, lease, wake};

/// What became of the database since a server last started on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No server has started on it before.
    First,
    Same,
    /// It is another one, or went back in time; every shard is marked as restored.
    Changed,
}

impl Store {
    /// Compares Postgres's own identity with the one stored and stores it. Called once when a server starts.
    pub async fn check_identity(&self) -> Result<Identity> {
        transaction!(self, Op::Health, |tx| {
            let known = sqlx::query!(
                r#"
                select system_identifier, timeline_id,
                    (select system_identifier from pg_control_system()) as "system_now!",
                    (select timeline_id from pg_control_checkpoint()) as "timeline_now!"
                from installation for no key update
                "#
            )
            .fetch_one(&mut *tx)
            .await?;
            let now = (Some(known.system_now), Some(known.timeline_now));
            let identity = match (known.system_identifier, known.timeline_id) {
                (None, None) => Identity::First,
                before if before == now => return Ok(Identity::Same),
                _ => Identity::Changed,
            };
            sqlx::query!(
                "update installation set system_identifier = $1, timeline_id = $2",
                now.0,
                now.1
            )
            .execute(&mut *tx)
            .await?;
            if identity == Identity::Changed {
                lease::mark_restored(tx).await?;
            }
            Ok(identity)
        })
        .await
    }

    /// What was committed is not there any more: every shard is marked, and every agent must open a new stream and state
    /// everything anew, since its patches are relative to what is forgotten. No agent is the newest until it does.
    pub async fn went_back(&self) -> Result<()> {
        transaction!(self, Op::Health, |tx| {
            lease::mark_restored(tx).await?;
            let clusters = sqlx::query_scalar!(
                "update clusters set epoch = epoch + 1, agent_instance = null returning id"
            )
            .fetch_all(&mut *tx)
            .await?;
            for cluster in clusters {
                wake::cluster(tx, ClusterId(cluster)).await?;
            }
            Ok(())
        })
        .await
    }
}
