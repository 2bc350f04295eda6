//! Shards.

use model::Shard;
use store::ShardState;

use crate::{Control, Error, Listing, Page, Principal, view::ShardView};

impl Control {
    pub async fn list_shards(&self, principal: &Principal, page: &Page) -> Result<Listing<ShardView>, Error> {
        principal.read_all("list shards")?;
        let after = page.after::<Shard>()?;
        // Accounts times regions: few enough to be read at once.
        let mut shards = self.store.shards().await?;
        shards.sort_by(|one, other| one.shard.cmp(&other.shard));
        shards.retain(|state| after.as_ref().is_none_or(|after| state.shard > *after));
        Ok(page.cut(shards, |state| state.shard.to_string()).map(Into::into))
    }

    /// An operator says that removing is safe again after the database went back in time.
    pub async fn release_shard(
        &self,
        principal: &Principal,
        shard: &Shard,
        dry_run: bool,
    ) -> Result<ShardView, Error> {
        let actor = principal.write("release shards")?;
        if dry_run {
            let state = self
                .store
                .shard(shard)
                .await?
                .ok_or_else(|| Error::not_found("shard", shard))?;
            return Ok(ShardView {
                restored_at: None,
                ..state.into()
            });
        }
        Ok(self.store.release_shard(actor, shard).await?.into())
    }
}

impl From<ShardState> for ShardView {
    fn from(state: ShardState) -> Self {
        let ShardState {
            shard,
            holder,
            epoch,
            deadline,
            restored_at,
        } = state;
        Self {
            shard,
            holder,
            epoch,
            deadline,
            restored_at,
        }
    }
}
