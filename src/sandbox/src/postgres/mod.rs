//! A throw-away Postgres on loopback: started, killed, restarted, set back to an older copy of itself.

mod installation;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{Error, Progress, Result, Scratch};

pub use installation::Installation;
use server::Server;

/// The variable that names a server to use instead of starting one. Its user must be allowed to create databases.
pub const GIVEN_URL: &str = "ELBOW_TEST_DATABASE_URL";

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);

/// How a Postgres is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether a commit reaches the disk. Off is faster and survives a killed process, but not a killed machine.
    pub fsync: bool,
    /// The server's `max_connections`.
    pub max_connections: u16,
    /// Where to tell what is waited for.
    pub progress: Progress,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: false,
            max_connections: 200,
            progress: Progress::silent(),
        }
    }
}

/// A Postgres for tests and demos: one of our own, or the one that [`GIVEN_URL`] names.
#[derive(Debug)]
pub struct Postgres {
    url: reqwest::Url,
    server: Option<Server>,
}

/// A cold copy of a server's data.
#[derive(Debug)]
pub struct Snapshot {
    folder: Scratch,
}

impl Postgres {
    /// Uses the given server if there is one, else starts one of our own.
    pub async fn start(options: Options) -> Result<Self> {
        match std::env::var(GIVEN_URL) {
            Ok(url) => Self::given(&url),
            Err(_) => Self::start_own(options).await,
        }
    }

    /// The server that this URL names, which somebody else runs.
    pub fn given(url: &str) -> Result<Self> {
        let url = url.parse().map_err(|_| Error::Missing {
            tool: "A Postgres",
            remedy: "give a URL like postgres://user@host:5432/database".to_owned(),
        })?;
        Ok(Self { url, server: None })
    }

    /// Starts one of our own, for tests that kill it or set it back.
    pub async fn start_own(options: Options) -> Result<Self> {
        let server = Server::start(&Installation::find()?, options).await?;
        Ok(Self {
            url: server.url(),
            server: Some(server),
        })
    }

    /// The URL of its database `postgres` (or of the database that was given), with the superuser.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// The URL of the database `name` in it.
    pub fn url_of(&self, name: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(name);
        url.to_string()
    }

    /// Creates the database `name` and answers its URL.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        let name_quoted = name.replace('"', "\"\"");
        self.execute(&format!("CREATE DATABASE \"{name_quoted}\""))
            .await?;
        Ok(self.url_of(name))
    }

    /// Creates a database whose name begins with `prefix` and that nobody else has, and answers its URL.
    pub async fn fresh_database(&self, prefix: &str) -> Result<String> {
        self.create_database(&format!("{prefix}_{}", uuid::Uuid::new_v4().simple()))
            .await
    }

    /// Runs SQL statements in the database of [`Self::url`].
    pub async fn execute(&self, statements: &str) -> Result<()> {
        execute(&self.url(), statements).await
    }

    /// The folder of its data.
    pub fn data_dir(&self) -> Result<&Path> {
        self.server.as_ref().map(Server::data).ok_or(Error::NotOurs {
            what: "the data folder",
        })
    }

    /// Ends it in an orderly way; open connections are cut.
    pub async fn stop(&mut self) -> Result<()> {
        self.own("stopping")?.stop().await
    }

    /// Ends it and all its backends at this instant, like a crash of the process.
    pub async fn kill(&mut self) -> Result<()> {
        self.own("killing")?.kill().await
    }

    /// Starts it again on the same port and data, after [`Self::stop`] or [`Self::kill`], or while it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.own("restarting")?.restart().await
    }

    /// Freezes the postmaster, so that nobody new gets in; see [`Self::thaw`].
    pub fn freeze(&mut self) -> Result<()> {
        self.own("freezing")?.freeze()
    }

    /// Lets a frozen one go on.
    pub fn thaw(&mut self) -> Result<()> {
        self.own("thawing")?.thaw()
    }

    /// Stops it, copies its data and starts it again.
    pub async fn snapshot(&mut self) -> Result<Snapshot> {
        let server = self.own("a snapshot")?;
        let folder = Scratch::new("postgres-snapshot")?;
        server.stop().await?;
        copy(server.data(), &folder.path().join("data"))?;
        server.restart().await?;
        Ok(Snapshot { folder })
    }

    /// Throws its data away and goes on with a copy, as after a restore from a backup.
    pub async fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let server = self.own("a restore")?;
        server.stop().await?;
        let data = server.data().to_owned();
        std::fs::remove_dir_all(&data).map_err(Error::file("removing", &data))?;
        copy(&snapshot.folder.path().join("data"), &data)?;
        server.restart().await
    }

    fn own(&mut self, what: &'static str) -> Result<&mut Server> {
        self.server.as_mut().ok_or(Error::NotOurs { what })
    }
}

// `cp` keeps owners, modes and links, which the standard library's copy does not.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    match copied {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::file("copying to", to)(std::io::Error::other(
            status.to_string(),
        ))),
        Err(source) => Err(Error::Spawn {
            program: PathBuf::from("cp"),
            source,
        }),
    }
}

/// Runs SQL statements in the database of this URL.
pub async fn execute(url: &str, statements: &str) -> Result<()> {
    query(url, statements).await.map(drop)
}

/// The same, and answers the rows that they return, as text.
pub async fn query(url: &str, statements: &str) -> Result<Vec<Vec<Option<String>>>> {
    let refused = |statement: &str| {
        let statement = statement.to_owned();
        move |source| Error::Postgres { statement, source }
    };
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(refused("connect"))?;
    let work = async {
        let done = client.simple_query(statements).await;
        drop(client); // ends the connection, which is the other half of this join
        done
    };
    let (done, _) = tokio::join!(work, connection);
    let rows = done
        .map_err(refused(statements))?
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).map(ToOwned::to_owned))
                    .collect(),
            ),
            _ => None,
        });
    Ok(rows.collect())
}
