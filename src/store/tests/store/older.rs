//! A server of the version before runs on the schema of this one: `older/NNNN.json` keeps what it asks of Postgres, from
//! the time before migration NNNN + 1. A file goes when its servers are not supported any more, and with it the right to
//! take away what only they need.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Column, Either, Executor, Row, SqlSafeStr, Statement};

use crate::support::Fixture;

const OLDER: [(&str, &str); 1] = [("0001", include_str!("older/0001.json"))];

#[derive(serde::Deserialize)]
struct Asked {
    queries: Vec<Query>,
    /// The columns of each table.
    tables: BTreeMap<String, Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Query {
    sql: String,
    parameters: usize,
    columns: Vec<String>,
}

#[tokio::test]
async fn every_query_of_an_older_server_is_still_understood() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    for (version, text) in OLDER {
        let asked: Asked = serde_json::from_str(text)?;
        ensure!(!asked.queries.is_empty(), "{version} asks nothing");
        for query in asked.queries {
            let why = || format!("a server of schema {version} asks {}", query.sql);
            let sql = AssertSqlSafe(query.sql.clone()).into_sql_str();
            let prepared = fixture.sql.prepare(sql).await.with_context(why)?;
            let columns: Vec<_> = prepared.columns().iter().map(Column::name).collect();
            ensure!(columns == query.columns, "{} and gets {columns:?}", why());
            let parameters = match prepared.parameters() {
                Some(Either::Left(types)) => types.len(),
                Some(Either::Right(count)) => count,
                None => 0,
            };
            ensure!(
                parameters == query.parameters,
                "{} with {parameters} parameters",
                why()
            );
        }
    }
    Ok(())
}

/// An insert that does not name a column since it was written before there was one.
#[tokio::test]
async fn what_an_older_server_writes_needs_no_column_that_it_does_not_know() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let present = sqlx::query(
        "select table_name::text, column_name::text,
            is_nullable = 'YES' or column_default is not null or is_identity = 'YES' or is_generated = 'ALWAYS'
        from information_schema.columns where table_schema = 'public'",
    )
    .fetch_all(&mut fixture.sql)
    .await?;
    for (version, text) in OLDER {
        let asked: Asked = serde_json::from_str(text)?;
        for row in &present {
            let (table, column, may_be_left_out): (String, String, bool) =
                (row.get(0), row.get(1), row.get(2));
            let Some(known) = asked.tables.get(&table) else {
                continue;
            };
            ensure!(
                known.contains(&column) || may_be_left_out,
                "{table}.{column} needs a value, and a server of schema {version} gives none: give it a default"
            );
        }
    }
    Ok(())
}
