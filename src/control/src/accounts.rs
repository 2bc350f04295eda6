//! AWS accounts that are entered by a role.

use model::{
    AccountId,
    account::{Account, AccountSpec},
};
use store::Put;

use crate::{Control, Error, Listing, Page, Principal, Write, Written};

impl Control {
    pub async fn list_accounts(&self, principal: &Principal, page: &Page) -> Result<Listing<Account>, Error> {
        principal.read_all("list accounts")?;
        let after = page.after::<AccountId>()?;
        let accounts = self.store.accounts(after.as_ref(), page.rows()).await?;
        Ok(page.cut(accounts, |account| account.id.to_string()))
    }

    pub async fn get_account(&self, principal: &Principal, id: &AccountId) -> Result<Account, Error> {
        principal.read_all("read accounts")?;
        self.account(id).await
    }

    /// Says by which role an account is entered. Without an account's word, our own credentials are used for it.
    pub async fn put_account(
        &self,
        principal: &Principal,
        id: AccountId,
        spec: AccountSpec,
        write: Write,
    ) -> Result<Written<Account>, Error> {
        let actor = principal.write("say how accounts are entered")?;
        if *spec.role.arn.account() != id {
            let message = format!(
                "the role lets into account {}, not into {id}",
                spec.role.arn.account()
            );
            return Err(Error::at("spec.role.arn", message));
        }
        let stored = self.store.account(&id).await?;
        write
            .expected
            .check(stored.as_ref().map(|account| account.version))?;
        if write.dry_run {
            let created = stored.is_none();
            let version = stored.map_or(1, |account| account.version + i64::from(account.spec != spec));
            let value = Account { id, spec, version };
            return Ok(Written { created, value });
        }
        let put = self
            .store
            .put_account(actor, &id, &spec, write.expected.version())
            .await?;
        Ok(Written {
            created: matches!(put, Put::Created(_)),
            value: put.into_inner(),
        })
    }

    /// Forgets how an account is entered. The answer is what it was.
    pub async fn delete_account(
        &self,
        principal: &Principal,
        id: &AccountId,
        write: Write,
    ) -> Result<Account, Error> {
        let actor = principal.write("forget accounts")?;
        let account = self.account(id).await?;
        write.expected.check(Some(account.version))?;
        if !write.dry_run {
            self.store
                .delete_account(actor, id, write.expected.version())
                .await?;
        }
        Ok(account)
    }

    async fn account(&self, id: &AccountId) -> Result<Account, Error> {
        self.store
            .account(id)
            .await?
            .ok_or_else(|| Error::not_found("account", id))
    }
}
