//! The connection pool and the one door for transactions.

use std::{
    net::IpAddr,
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{
    Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use crate::{Error, Metrics, Op, Result, error::lost_a_race};

/// The one door for writes: commits when `work` succeeds, rolls back when it fails, runs it again when it lost a race.
/// `work` must reach nothing outside of the database.
///
/// A macro, since the future of an async closure that borrows is not known to be `Send`.
macro_rules! transaction {
    ($store:expr, $op:expr, |$tx:ident| $work:block) => {
        $store.measured($op, async {
            let store: &$crate::Store = $store;
            let mut attempt = 1;
            loop {
                let mut transaction = store.pool.begin().await?;
                let work = async {
                    let $tx: &mut sqlx::PgConnection = &mut transaction;
                    $work
                };
                let worked = $crate::database::typed(work).await;
                let done = $crate::database::end(transaction, worked).await;
                match done {
                    Err(error) if store.tries_again(attempt, &error) => attempt += 1,
                    done => return done,
                }
            }
        })
    };
}
pub(crate) use transaction;

/// How often a transaction that lost a race is run before the caller is told.
const ATTEMPTS: u32 = 5;
/// A pooled connection that was used this recently is taken without asking whether it lives.
const FRESH: Duration = Duration::from_secs(1);

/// The table in which sqlx notes what was applied.
const JOURNAL: &str = "_sqlx_migrations";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// How the pool behaves.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_connections: u32,
    /// How long an operation may take, the wait for a connection included. A frozen Postgres is an error, not a hang.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 16,
            timeout: Duration::from_secs(5),
        }
    }
}

/// Elbow's database. Clones share one pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    /// For connections beside the pool.
    pub(crate) connect: PgConnectOptions,
    metrics: Metrics,
    timeout: Duration,
}

impl Store {
    /// Connects once, so that a wrong address is known now. Without an explicit `sslmode` in the URL, a server on
    /// another machine must show a valid certificate.
    pub async fn connect(url: &str, options: Options, metrics: Metrics) -> Result<Self> {
        let Options {
            max_connections,
            timeout,
        } = options;
        let millis = timeout.as_millis().to_string();
        let mut connect = PgConnectOptions::from_str(url)
            .map_err(Error::Address)?
            .application_name("elbow")
            .options([
                ("statement_timeout", millis.as_str()),
                ("lock_timeout", millis.as_str()),
                ("idle_in_transaction_session_timeout", millis.as_str()),
                ("timezone", "UTC"),
            ]);
        if !url.contains("sslmode=") {
            let mode = if is_local(&connect) {
                PgSslMode::Prefer
            } else {
                PgSslMode::VerifyFull
            };
            connect = connect.ssl_mode(mode);
        }
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(connect.clone())
            .await?;
        metrics.show(&pool);
        Ok(Self {
            pool,
            connect,
            metrics,
            timeout,
        })
    }

    /// Brings the schema up to date. Several processes may do so at once. A schema that holds tables of somebody else, and
    /// none of Elbow's, is refused.
    pub async fn migrate(&self) -> Result<()> {
        let tables = self.tables().await?;
        if !tables.is_empty() && !tables.iter().any(|table| table == JOURNAL) {
            return Err(Error::Constraint(occupied(&tables)));
        }
        MIGRATIONS.run(&self.pool).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            error => Error::Migration(Box::new(error)),
        })
    }

    /// Brings a schema up to date that must be empty.
    pub async fn migrate_empty(&self) -> Result<()> {
        let tables = self.tables().await?;
        if !tables.is_empty() {
            return Err(Error::Constraint(occupied(&tables)));
        }
        self.migrate().await
    }

    /// What is stored in the schema, but for what belongs to extensions.
    async fn tables(&self) -> Result<Vec<String>> {
        let tables = sqlx::query_scalar(
            "select relname::text from pg_class c \
             where relnamespace = (select oid from pg_namespace where nspname = current_schema()) \
                 and relkind in ('r', 'p', 'v', 'm', 'f') \
                 and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e') \
             order by relname",
        );
        self.read(Op::Health, tables.fetch_all(&self.pool)).await
    }

    /// The newest migration that was applied; `None`: there is no schema yet.
    pub async fn schema_version(&self) -> Result<Option<i64>> {
        self.read(Op::Health, async {
            let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
                .fetch_one(&self.pool)
                .await?;
            if !exists {
                return Ok(None);
            }
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
                .fetch_one(&self.pool)
                .await
        })
        .await
    }

    /// The migration that this build was made with.
    pub fn wanted_schema_version() -> i64 {
        MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or_default()
    }

    /// Whether the database answers.
    pub async fn health(&self) -> Result<()> {
        self.read(Op::Health, sqlx::query("select 1").execute(&self.pool))
            .await
            .map(drop)
    }

    /// Lets the pool's connections go.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// One measured read. A single statement sees a single moment.
    pub(crate) async fn read<T>(&self, op: Op, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
        self.measured(op, async { work.await.map_err(Error::from) }).await
    }

    /// Whether a transaction that failed only lost a race and has attempts left.
    pub(crate) fn tries_again(&self, attempt: u32, error: &Error) -> bool {
        let again = attempt < ATTEMPTS && raced(error);
        if again {
            self.metrics.retried();
        }
        again
    }

    /// Runs `work` within the operation's time and counts it.
    pub(crate) async fn measured<T>(&self, op: Op, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let done = match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(late) => Err(Error::Unavailable(Box::new(late))),
        };
        self.metrics
            .done(op, begun.elapsed(), done.as_ref().err().map(Error::label));
        done
    }
}

/// Tells the compiler what `?` converts into.
pub(crate) fn typed<T, F: Future<Output = Result<T>>>(work: F) -> F {
    work
}

/// Commits what worked; else rolls back.
pub(crate) async fn end<T>(
    transaction: sqlx::Transaction<'_, sqlx::Postgres>,
    worked: Result<T>,
) -> Result<T> {
    match worked {
        Ok(value) => Ok(transaction.commit().await.map(|()| value)?),
        Err(error) => {
            // The cause is worth more than a failure to roll back, which closing the connection does as well.
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

fn raced(error: &Error) -> bool {
    match error {
        Error::Unavailable(source) => source.downcast_ref::<sqlx::Error>().is_some_and(lost_a_race),
        _ => false,
    }
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Why a schema is not taken, and the way out.
fn occupied(tables: &[String]) -> String {
    const NAMED: usize = 3;
    let more = if tables.len() > NAMED { ", …" } else { "" };
    format!(
        "the database's schema is not empty (it has {}{more}): name a database of Elbow's own, or an empty schema of it, \
         as in postgres://USER@HOST/DATABASE?options=-csearch_path%3Delbow",
        tables[..tables.len().min(NAMED)].join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_this_machine_may_go_without_a_certificate() {
        for (url, local) in [
            ("postgres://elbow@127.0.0.1:5432/elbow", true),
            ("postgres://elbow@[::1]/elbow", true),
            ("postgres://elbow@localhost/elbow", true),
            ("postgres:///elbow?host=/run/postgresql", true),
            ("postgres://elbow@10.0.0.1/elbow", false),
            ("postgres://elbow@localhost.example.com/elbow", false),
        ] {
            assert_eq!(
                is_local(&PgConnectOptions::from_str(url).unwrap()),
                local,
                "{url}"
            );
        }
    }
}
