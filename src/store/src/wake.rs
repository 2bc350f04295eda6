//! Wakes: a key without payload over LISTEN/NOTIFY, sent with the commit that is their reason.
//!
//! A wake may be lost with its connection, so whoever waits for one also looks by itself now and then. A process needs
//! one connection that listens, however many of its parts wait: [`Hub`].

use std::{convert::Infallible, error::Error as _, time::Duration};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId, Name, SecurityGroupId, Shard, TargetGroupArn, fact::ObjectName, stream::Origin,
};
use sqlx::{
    PgConnection,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::broadcast;

use crate::{Result, Store};

const CHANNEL: &str = "elbow";
/// Wakes that a subscriber of the hub may be behind. Beyond, it is told to look at everything.
const BEHIND: usize = 4096;
/// Between attempts to listen again. There is one connection per process, so a steady pace is no storm.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// Says only that there are events. The triggers of `migrations/0004_operate.sql` name it too.
const EVENTS: &str = "elbow_events";

/// What wakes are about, for measuring alone. A channel of its own: older servers do not hear it.
const NEWS: &str = "elbow_news";

tokio::task_local! {
    static ORIGIN: Origin;
}

/// What `work` stores of an agent's statement comes from `origin`: the wakes that it sends are preceded by [`News`].
pub async fn coming_from<F: Future>(origin: Option<Origin>, work: F) -> F::Output {
    match origin {
        Some(origin) => ORIGIN.scope(origin, work).await,
        None => work.await,
    }
}

/// What the next wake of a target group is about. Nobody acts on it: it may be lost, and the wake says all there is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct News {
    /// When the transaction that stored it began, on Postgres's clock.
    pub ingested_at: Timestamp,
    /// When its agent saw it: earlier by the time that it waited there.
    pub seen_at: Timestamp,
    /// The trace that goes on here, as a W3C `traceparent`.
    pub trace: Option<String>,
}

/// Something to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wake {
    Group(TargetGroupArn),
    /// Comes before the wake of the group that it is about.
    News(TargetGroupArn, News),
    /// The rules of a security group, and the shard that owns it.
    SecurityGroup(Shard, SecurityGroupId),
    /// A managed target group by its declaration, and the shard that it is in.
    ManagedGroup(Shard, Name),
    /// AWS has named a managed target group: bindings that refer to it by name are to be judged anew.
    Declared,
    /// The cluster's stream may have something to send.
    Cluster(ClusterId),
    /// A shard is new, or what applies to all of it changed.
    Shard(Shard),
    /// There are events to tell.
    Events,
    /// Wakes may have been lost: look at everything.
    All,
}

impl Wake {
    /// `MICROSECONDS-OF-POSTGRES MICROSECONDS-IN-THE-AGENT TRACE|- ARN`. One of an unknown form is left out.
    fn news(payload: &str) -> Option<Self> {
        let mut words = payload.split(' ');
        let [ingested, waited, trace, arn] = [words.next()?, words.next()?, words.next()?, words.next()?];
        let ingested_at = Timestamp::from_microsecond(ingested.parse().ok()?).ok()?;
        let waited = SignedDuration::from_micros(waited.parse().ok()?);
        let news = News {
            ingested_at,
            seen_at: ingested_at.checked_sub(waited).ok()?,
            trace: (trace != "-").then(|| trace.to_owned()),
        };
        Some(Self::News(arn.parse().ok()?, news))
    }

    /// A payload of another version of the program wakes everything: too much is cheap, too little is not.
    fn parse(payload: &str) -> Self {
        match payload {
            "a" => return Self::All,
            "d" => return Self::Declared,
            _ => {}
        }
        let parsed = match payload.split_once(' ') {
            Some(("g", arn)) => arn.parse().ok().map(Self::Group),
            Some(("r", text)) => text
                .split_once(' ')
                .and_then(|(shard, id)| Some(Self::SecurityGroup(shard.parse().ok()?, id.parse().ok()?))),
            Some(("m", text)) => text
                .split_once(' ')
                .and_then(|(shard, name)| Some(Self::ManagedGroup(shard.parse().ok()?, name.parse().ok()?))),
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
        loop {
            match self.listener.try_recv().await {
                Ok(Some(notification)) if notification.channel() == NEWS => {
                    if let Some(news) = Wake::news(notification.payload()) {
                        return Ok(news);
                    }
                }
                Ok(Some(notification)) if notification.channel() == EVENTS => return Ok(Wake::Events),
                Ok(Some(notification)) => return Ok(Wake::parse(notification.payload())),
                Ok(None) => return Ok(Wake::All),
                Err(error) => {
                    self.lost = true;
                    return Err(error.into());
                }
            }
        }
    }
}

/// Passes the wakes of one [`Listener`] on to every part of the process. Clones are one.
#[derive(Clone, Debug)]
pub struct Hub {
    store: Store,
    wakes: broadcast::Sender<Wake>,
}

impl Hub {
    pub fn new(store: Store) -> Self {
        let (wakes, _) = broadcast::channel(BEHIND);
        Self { store, wakes }
    }

    /// Hears every wake from now on, once the hub runs. The first after each beginning to listen is [`Wake::All`].
    pub fn subscribe(&self) -> Wakes {
        Wakes {
            _hub: self.clone(),
            wakes: self.wakes.subscribe(),
        }
    }

    /// Listens for ever.
    pub async fn run(&self) -> Infallible {
        loop {
            let Err(error) = self.listen().await;
            tracing::warn!(
                error = %error,
                cause = error.source().map(tracing::field::display),
                "wakes are not heard until the connection is back; everybody looks by the clock"
            );
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn listen(&self) -> Result<Infallible> {
        let mut listener = self.store.listen().await?;
        // What was committed before is not heard.
        let mut wake = Wake::All;
        loop {
            // Without a subscriber there is nobody to be told.
            self.wakes.send(wake).ok();
            wake = listener.next().await?;
        }
    }
}

/// What one part of the process hears from the [`Hub`].
#[derive(Debug)]
pub struct Wakes {
    /// The channel stays open for as long as somebody waits.
    _hub: Hub,
    wakes: broadcast::Receiver<Wake>,
}

impl Wakes {
    /// The next wake.
    pub async fn next(&mut self) -> Wake {
        // The sender lives in this very value, so an error can only say that wakes were passed over.
        self.wakes.recv().await.unwrap_or(Wake::All)
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
        listener.listen_all([CHANNEL, EVENTS, NEWS]).await?;
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

pub(crate) async fn managed_group(connection: &mut PgConnection, shard: &Shard, name: &Name) -> Result<()> {
    notify(connection, &[format!("m {shard} {name}")]).await
}

/// A managed target group has its ARN.
pub(crate) async fn declared(connection: &mut PgConnection) -> Result<()> {
    notify(connection, &["d".to_owned()]).await
}

/// Everybody looks at everything.
pub(crate) async fn everything(connection: &mut PgConnection) -> Result<()> {
    notify(connection, &["a".to_owned()]).await
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

/// Security groups, each with its shard, as stored.
pub(crate) async fn security_groups<'a>(
    connection: &mut PgConnection,
    groups: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    let payloads: Vec<_> = groups
        .into_iter()
        .map(|(shard, id)| format!("r {shard} {id}"))
        .collect();
    if payloads.is_empty() {
        Ok(())
    } else {
        notify(connection, &payloads).await
    }
}

/// The security groups in which a cluster or a binding has openings, or rules that served it last.
pub(crate) async fn security_groups_of(
    connection: &mut PgConnection,
    cluster: Option<ClusterId>,
    binding: Option<BindingId>,
) -> Result<()> {
    sqlx::query!(
        r#"
        select pg_notify($3, 'r ' || shard || ' ' || id) as "void: ()"
        from (
            select o.shard, o.security_group_id as id
            from openings o join bindings b on b.id = o.binding_id where b.cluster_id = $1 or b.id = $2
            union
            select shard, security_group_id from ledger_rules where $1 = any(clusters) or $2 = any(bindings)
        ) affected
        "#,
        cluster.map(|cluster| cluster.0),
        binding.map(|binding| binding.0),
        CHANNEL,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The groups of the bindings that refer to this service.
pub(crate) async fn service(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
) -> Result<()> {
    services(
        connection,
        cluster,
        &service.namespace,
        std::slice::from_ref(&service.name),
    )
    .await
}

/// The groups of the bindings that refer to these services.
pub(crate) async fn services(
    connection: &mut PgConnection,
    cluster: ClusterId,
    namespace: &str,
    services: &[String],
) -> Result<()> {
    let news = ORIGIN.try_with(|Origin { waited, trace }| {
        format!("{} {} ", waited.as_micros(), trace.as_deref().unwrap_or("-"))
    });
    // The news first, so that whoever is woken has it.
    sqlx::query!(
        r#"
        with affected as (
            select distinct target_group_arn as arn from bindings
            where cluster_id = $1 and namespace = $2 and service = any($3)
        )
        select pg_notify(channel, payload) as "void: ()"
        from (
            select $4::text as channel, (extract(epoch from now()) * 1000000)::bigint || ' ' || $5::text || arn as payload
            from affected where $5::text is not null
            union all
            select $6::text, 'g ' || arn from affected
        ) said
        "#,
        cluster.0,
        namespace,
        services,
        NEWS,
        news.ok(),
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

/// The groups of type `instance` among those of a cluster's bindings, as AWS or the binding says.
pub(crate) async fn instance_groups(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        select pg_notify($2, 'g ' || arn) as "void: ()"
        from (
            select distinct b.target_group_arn as arn
            from bindings b left join observations o on o.target_group_arn = b.target_group_arn
            where b.cluster_id = $1 and b.target_group_arn is not null
                and 'instance' in (o.facts #>> '{value,targetType}', b.spec ->> 'targetType')
        ) affected
        "#,
        cluster.0,
        CHANNEL,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The groups among those of a cluster's bindings that find interfaces by node: of addresses that need openings.
pub(crate) async fn groups_with_hosts(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        select pg_notify($2, 'g ' || arn) as "void: ()"
        from (
            select distinct target_group_arn as arn from bindings
            where cluster_id = $1 and target_group_arn is not null and spec -> 'networking' is not null
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
    fn news_tell_when_an_event_was_seen_and_stored_and_are_left_out_where_they_cannot_be_read() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";
        let told = |trace| Wake::news(&format!("1764072000000000 250000 {trace} {arn}"));
        let ingested_at: Timestamp = "2025-11-25T12:00:00Z".parse().unwrap();
        let news = News {
            ingested_at,
            seen_at: ingested_at - SignedDuration::from_millis(250),
            trace: None,
        };
        assert_eq!(told("-"), Some(Wake::News(arn.parse().unwrap(), news.clone())));
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traced = News {
            trace: Some(trace.to_owned()),
            ..news
        };
        assert_eq!(told(trace), Some(Wake::News(arn.parse().unwrap(), traced)));
        for unknown in ["", "1", "x 1 - arn", "1 2 - nonsense"] {
            assert_eq!(Wake::news(unknown), None, "{unknown}");
        }
    }

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
        assert_eq!(
            Wake::parse("r aws/123456789012/us-east-1 sg-0123456789abcdef0"),
            Wake::SecurityGroup(
                "aws/123456789012/us-east-1".parse().unwrap(),
                "sg-0123456789abcdef0".parse().unwrap()
            )
        );
        assert_eq!(
            Wake::parse("m aws/123456789012/us-east-1 web"),
            Wake::ManagedGroup(
                "aws/123456789012/us-east-1".parse().unwrap(),
                "web".parse().unwrap()
            )
        );
        assert_eq!(Wake::parse("d"), Wake::Declared);
        for unknown in ["", "g", "g nonsense", "x y"] {
            assert_eq!(Wake::parse(unknown), Wake::All, "{unknown}");
        }
    }
}
