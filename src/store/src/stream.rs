//! An agent's stream: its epoch fences everything that it states.

use model::{ClusterId, ownership::Surroundings};
use sqlx::PgConnection;

use crate::{
    Error, Op, Result, Store,
    database::transaction,
    lease,
    row::{Row, to_bigint, to_json},
    wake,
};

/// After such a silence the cluster's groups are looked at again when its agent is heard of.
const SILENCE_SECONDS: f64 = 20.0;
/// How far in the future of Postgres's clock an epoch may lie that an agent says it was given.
const CREDIBLE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The stream that a statement came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    pub cluster: ClusterId,
    pub epoch: u64,
}

/// A new stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    pub epoch: u64,
    /// The agent knows an epoch that the database does not: the database went back in time, and every shard is marked.
    pub restored: bool,
}

impl Store {
    /// Opens the cluster's newest stream: from now on nothing is taken from an older one.
    pub async fn open_stream(
        &self,
        cluster: ClusterId,
        instance: &str,
        last_epoch: u64,
        cluster_uid: &str,
    ) -> Result<Opened> {
        transaction!(self, Op::OpenStream, |tx| {
            let row = sqlx::query!(
                r#"
                select epoch, cluster_uid, (extract(epoch from clock_timestamp()) * 1000)::bigint as "millis!",
                    coalesce(seen_at < clock_timestamp() - make_interval(secs => $2), true) as "was_silent!"
                from clusters where id = $1 for no key update
                "#,
                cluster.0,
                SILENCE_SECONDS,
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("cluster", cluster))?;
            let at = Row::new("clusters", &cluster);
            let (known, millis): (u64, u64) = (at.number("epoch", row.epoch)?, at.number("epoch", row.millis)?);
            if let Some(stored) = row.cluster_uid.filter(|stored| stored != cluster_uid) {
                return Err(Error::OtherCluster { stored, given: cluster_uid.to_owned() });
            }
            if last_epoch > known && last_epoch > millis + CREDIBLE_MILLIS {
                return Err(Error::Constraint(format!(
                    "the agent says that it was given epoch {last_epoch}, which lies in the future: check the agent's state \
                     and the database's clock"
                )));
            }
            let restored = last_epoch > known;
            let epoch = millis.max(known + 1).max(last_epoch + 1);
            sqlx::query!(
                r#"
                update clusters set epoch = $2, agent_instance = $3, cluster_uid = $4, seen_at = clock_timestamp(),
                    -- What an agent of another stream saw is no news of this one.
                    surroundings = null
                where id = $1
                "#,
                cluster.0,
                to_bigint(epoch),
                instance,
                cluster_uid,
            )
            .execute(&mut *tx)
            .await?;
            if restored {
                lease::mark_restored(tx).await?;
            }
            if row.was_silent {
                wake::groups_of_cluster(tx, cluster).await?;
            }
            // The older stream learns that it is one.
            wake::cluster(tx, cluster).await?;
            Ok(Opened { epoch, restored })
        })
        .await
    }

    /// The agent was heard of, with what it sees of others if it said so.
    pub async fn touch(&self, stream: Stream, surroundings: Option<&Surroundings>) -> Result<()> {
        transaction!(self, Op::Touch, |tx| {
            let was_silent = sqlx::query_scalar!(
                r#"
                update clusters set seen_at = clock_timestamp(), surroundings = coalesce($4, surroundings)
                from (select id, seen_at from clusters where id = $1 for no key update) before
                where clusters.id = before.id and epoch = $2
                returning coalesce(before.seen_at < clock_timestamp() - make_interval(secs => $3), true) as "was_silent!"
                "#,
                stream.cluster.0,
                to_bigint(stream.epoch),
                SILENCE_SECONDS,
                surroundings.map(to_json),
            )
            .fetch_optional(&mut *tx)
            .await?;
            match was_silent {
                None => Err(stale(tx, stream.cluster).await?),
                Some(false) => Ok(()),
                Some(true) => wake::groups_of_cluster(tx, stream.cluster).await,
            }
        })
        .await
    }
}

/// Takes the cluster's lock, under which its facts are written, if the stream is the newest.
pub(crate) async fn check(connection: &mut PgConnection, stream: Stream) -> Result<()> {
    let epoch = sqlx::query_scalar!(
        "select epoch from clusters where id = $1 for no key update",
        stream.cluster.0
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| Error::not_found("cluster", stream.cluster))?;
    if epoch == to_bigint(stream.epoch) {
        Ok(())
    } else {
        Err(stale(connection, stream.cluster).await?)
    }
}

/// Why a stream is not the newest any more.
async fn stale(connection: &mut PgConnection, cluster: ClusterId) -> Result<Error> {
    let followed = sqlx::query_scalar!(
        r#"select agent_instance is not null as "followed!" from clusters where id = $1"#,
        cluster.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(match followed {
        Some(false) => Error::Forgotten { cluster },
        Some(true) | None => Error::StaleEpoch { cluster },
    })
}
