//! AWS accounts that are entered by a role.

use std::collections::HashMap;

use model::{
    AccountId,
    account::{Account, AccountSpec, AssumableRole},
};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    Error, Op, Put, Result, Store, audit,
    database::transaction,
    row::{self, Row, to_json},
    version,
};

struct AccountRow {
    account: String,
    spec: Value,
    version: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = Error;

    fn try_from(row: AccountRow) -> Result<Self> {
        let at = Row::new("accounts", &row.account);
        Ok(Self {
            id: at.text("account", &row.account)?,
            spec: at.json("spec", row.spec)?,
            version: row.version,
        })
    }
}

impl Store {
    /// Says how an account is entered. Writers see it at their next renewal of the lease.
    pub async fn put_account(
        &self,
        actor: &str,
        id: &AccountId,
        spec: &AccountSpec,
        expected: Option<i64>,
    ) -> Result<Put<Account>> {
        transaction!(self, Op::Declare, |tx| {
            let stored = for_update(tx, id).await?;
            version::check(expected, stored.as_ref().map(|account| account.version))?;
            if let Some(account) = &stored
                && account.spec == *spec
            {
                return Ok(Put::Unchanged(account.clone()));
            }
            let version = sqlx::query_scalar!(
                r#"
                insert into accounts as old (account, spec) values ($1, $2)
                on conflict (account) do update set spec = excluded.spec, version = old.version + 1
                returning version
                "#,
                id.as_str(),
                to_json(spec),
            )
            .fetch_one(&mut *tx)
            .await?;
            let before = stored.as_ref().map(|account| to_json(&account.spec));
            audit::append(tx, actor, "account.put", id.as_str(), before, Some(to_json(spec))).await?;
            let account = Account {
                id: id.clone(),
                spec: spec.clone(),
                version,
            };
            Ok(match stored {
                None => Put::Created(account),
                Some(_) => Put::Updated(account),
            })
        })
        .await
    }

    /// From now on the account is one of our own credentials'.
    pub async fn delete_account(&self, actor: &str, id: &AccountId, expected: Option<i64>) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            let Some(account) = for_update(tx, id).await? else {
                return Err(Error::not_found("account", id));
            };
            version::check(expected, Some(account.version))?;
            sqlx::query!("delete from accounts where account = $1", id.as_str())
                .execute(&mut *tx)
                .await?;
            audit::append(
                tx,
                actor,
                "account.delete",
                id.as_str(),
                Some(to_json(&account.spec)),
                None,
            )
            .await
        })
        .await
    }

    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>> {
        let query = sqlx::query_as!(
            AccountRow,
            "select account, spec, version from accounts where account = $1",
            id.as_str()
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// By id; `after` = the last id of the page before.
    pub async fn accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>> {
        let query = sqlx::query_as!(
            AccountRow,
            r#"
            select account, spec, version from accounts where $1::text is null or account > $1
            order by account limit $2
            "#,
            after.map(AccountId::as_str),
            row::limit(limit),
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    /// By which role each account is entered, for whoever calls AWS.
    pub async fn account_roles(&self) -> Result<HashMap<AccountId, AssumableRole>> {
        let query = sqlx::query_as!(AccountRow, "select account, spec, version from accounts");
        let rows = self.read(Op::Lease, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let account = Account::try_from(row)?;
                Ok((account.id, account.spec.role))
            })
            .collect()
    }
}

async fn for_update(connection: &mut PgConnection, id: &AccountId) -> Result<Option<Account>> {
    sqlx::query_as!(
        AccountRow,
        "select account, spec, version from accounts where account = $1 for update",
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?
    .map(TryInto::try_into)
    .transpose()
}
