//! A sandbox's Postgres can be killed, frozen, restarted and set back, and keeps its word about what was committed.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::time::Duration;

use sandbox::postgres::{Installation, Options, Postgres};
use sandbox::{Progress, Wait, wait_until};

// Without Postgres these tests cannot run; in CI that is a failure.
async fn start() -> Option<Postgres> {
    match Installation::find() {
        Ok(_) => Some(Postgres::start_own(Options::default()).await.unwrap()),
        Err(missing) if std::env::var("ELBOW_REQUIRE").is_ok_and(|what| what == "all") => panic!("{missing}"),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            None
        }
    }
}

#[tokio::test]
async fn each_database_is_its_own() {
    let Some(postgres) = start().await else { return };
    let one = postgres.create_database("one").await.unwrap();
    let other = postgres.fresh_database("other").await.unwrap();
    assert_ne!(one, other);
    assert!(one.ends_with("/one"));
    postgres
        .create_database("one")
        .await
        .expect_err("the name is taken");
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_was_committed() {
    let Some(mut postgres) = start().await else { return };
    postgres
        .execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)")
        .await
        .unwrap();
    postgres.kill().await.unwrap();
    postgres.execute("SELECT 1").await.expect_err("it is dead");
    postgres.restart().await.unwrap();
    postgres.execute("SELECT 1 / count(*) FROM kept").await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_busy_when_it_is_killed_comes_back() {
    let Some(mut postgres) = start().await else { return };
    let url = postgres.url();
    let busy = async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::join!(
            async {
                client
                    .batch_execute("SELECT pg_sleep(600)")
                    .await
                    .expect_err("it is cut")
            },
            connection
        )
        .0
    };
    let kill = async {
        let asleep = "SELECT 1 / count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
        wait_until(
            Duration::from_secs(10),
            "the sleeping backend",
            &Progress::silent(),
            async || postgres.execute(asleep).await.map_err(Wait::not_yet),
        )
        .await
        .unwrap();
        postgres.kill().await.unwrap();
    };
    tokio::join!(busy, kill);
    postgres.restart().await.unwrap();
}

#[tokio::test]
async fn a_server_restored_from_a_copy_has_forgotten_what_came_after() {
    let Some(mut postgres) = start().await else { return };
    postgres.execute("CREATE TABLE before (id int)").await.unwrap();
    let copy = postgres.snapshot().await.unwrap();
    postgres.execute("CREATE TABLE after (id int)").await.unwrap();
    postgres.restore(&copy).await.unwrap();
    postgres.execute("SELECT * FROM before").await.unwrap();
    postgres
        .execute("SELECT * FROM after")
        .await
        .expect_err("it was created after the copy");
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_server() {
    let Some(postgres) = start().await else { return };
    let data = postgres.data_dir().unwrap().to_owned();
    let url = postgres.url();
    drop(postgres);
    assert!(!data.exists());
    assert!(
        tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .is_err()
    );
}
