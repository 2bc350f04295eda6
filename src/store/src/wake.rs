//! Wakes: a key without payload over LISTEN/NOTIFY, sent with the commit that is their reason.
//!
//! A wake may be lost with its connection, so whoever waits for one also looks by itself now and then.

use model::{ClusterId, Shard, TargetGroupArn};
use sqlx::{
    PgConnection,
    postgres::{PgListener, PgPoolOptions},
};

use crate::{Result, Store};

const CHANNEL: &str = "elbow";

/// Something to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wake {
    Group(TargetGroupArn),
    /// The cluster's stream may have something to send.
    Cluster(ClusterId),
    /// A shard is new, or what applies to all of it changed.
    Shard(Shard),
    /// Wakes may have been lost: look at everything.
    All,
}

impl Wake {
    /// A payload of another version of the program wakes everything: too much is cheap, too little is not.
    fn parse(payload: &str) -> Self {
        let parsed = match payload.split_once(' ') {
            Some(("g", arn)) => arn.parse().ok().map(Self::Group),
            Some(("c", id)) => id.parse().ok().map(Self::Cluster),
            Some(("s", shard)) => shard.parse().ok().map(Self::Shard),
            _ => None,
        };
        parsed.unwrap_or_else(|| {
            tracing::warn!(payload, "a wake of an unknown form");
            Self::All
        })
    }
}

/// A connection of its own that hears every wake from its beginning on.
#[derive(Debug)]
pub struct Listener {
    listener: PgListener,
    lost: bool,
}

impl Listener {
    /// The next wake. After an error, which is always worth a retry after a pause, and after a silent reconnection the
    /// next one is [`Wake::All`].
    pub async fn next(&mut self) -> Result<Wake> {
        if std::mem::take(&mut self.lost) {
            return Ok(Wake::All);
        }
        match self.listener.try_recv().await {
            Ok(Some(notification)) => Ok(Wake::parse(notification.payload())),
            Ok(None) => Ok(Wake::All),
            Err(error) => {
                self.lost = true;
                Err(error.into())
            }
        }
    }
}

impl Store {
    /// Begins to listen. What was committed before is not heard: look at everything once after this returns.
    pub async fn listen(&self) -> Result<Listener> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None);
        let pool = pool.connect_with(self.connect.clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Listener {
            listener,
            lost: false,
        })
    }
}

pub(crate) async fn group(connection: &mut PgConnection, arn: &TargetGroupArn) -> Result<()> {
    notify(connection, &[format!("g {arn}")]).await
}

pub(crate) async fn cluster(connection: &mut PgConnection, id: ClusterId) -> Result<()> {
    notify(connection, &[format!("c {id}")]).await
}

pub(crate) async fn shard(connection: &mut PgConnection, shard: &str) -> Result<()> {
    notify(connection, &[format!("s {shard}")]).await
}

/// Target groups by their ARN as stored.
pub(crate) async fn groups(
    connection: &mut PgConnection,
    arns: impl IntoIterator<Item = String>,
) -> Result<()> {
    let payloads: Vec<_> = arns.into_iter().map(|arn| format!("g {arn}")).collect();
    if payloads.is_empty() {
        Ok(())
    } else {
        notify(connection, &payloads).await
    }
}

/// The groups of the bindings that refer to these services.
pub(crate) async fn services(
    connection: &mut PgConnection,
    cluster: ClusterId,
    namespace: &str,
    services: &[String],
) -> Result<()> {
    sqlx::query!(
        r#"
        select pg_notify($4, 'g ' || arn) as "void: ()"
        from (
            select distinct target_group_arn as arn from bindings
            where cluster_id = $1 and namespace = $2 and service = any($3)
        ) affected
        "#,
        cluster.0,
        namespace,
        services,
        CHANNEL,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The groups of all bindings of a cluster.
pub(crate) async fn groups_of_cluster(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        select pg_notify($2, 'g ' || arn) as "void: ()"
        from (
            select distinct target_group_arn as arn from bindings where cluster_id = $1 and target_group_arn is not null
        ) affected
        "#,
        cluster.0,
        CHANNEL,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn notify(connection: &mut PgConnection, payloads: &[String]) -> Result<()> {
    sqlx::query!(
        r#"select pg_notify($1, payload) as "void: ()" from unnest($2::text[]) as payload"#,
        CHANNEL,
        payloads,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_wake_wakes_everything() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";
        assert_eq!(
            Wake::parse(&format!("g {arn}")),
            Wake::Group(arn.parse().unwrap())
        );
        assert_eq!(
            Wake::parse("s aws/123456789012/us-east-1"),
            Wake::Shard("aws/123456789012/us-east-1".parse().unwrap())
        );
        for unknown in ["", "g", "g nonsense", "x y"] {
            assert_eq!(Wake::parse(unknown), Wake::All, "{unknown}");
        }
    }
}
