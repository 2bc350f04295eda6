//! Holds.

use std::collections::{HashMap, hash_map::Entry};

use model::{ClusterId, HoldId, Name};
use store::{HoldFilter, StoredHold};

use crate::{Control, Error, Listing, Page, Principal, view::HoldView};

impl Control {
    pub async fn list_holds(
        &self,
        principal: &Principal,
        ended: bool,
        page: &Page,
    ) -> Result<Listing<HoldView>, Error> {
        principal.read("list holds")?;
        let filter = HoldFilter {
            ended,
            ..HoldFilter::default()
        };
        let holds = self.store.holds(&filter, page.after()?, page.rows()).await?;
        let Listing { items, next } = page.cut(holds, |hold| hold.id.to_string());
        let mut names = HashMap::new();
        let mut views = Vec::with_capacity(items.len());
        for hold in items {
            if self.sees_hold(principal, &hold, &mut names).await? {
                views.push(self.hold_view(hold, &mut names).await?);
            }
        }
        Ok(Listing { items: views, next })
    }

    pub async fn get_hold(&self, principal: &Principal, id: HoldId) -> Result<HoldView, Error> {
        principal.read("read holds")?;
        let (hold, mut names) = (self.hold(id).await?, HashMap::new());
        if !self.sees_hold(principal, &hold, &mut names).await? {
            return Err(Error::not_found("hold", &id));
        }
        self.hold_view(hold, &mut names).await
    }

    /// An operator lets go of exactly what the hold keeps at present.
    pub async fn release_hold(
        &self,
        principal: &Principal,
        id: HoldId,
        dry_run: bool,
    ) -> Result<HoldView, Error> {
        let actor = principal.write("release holds")?;
        let hold = if dry_run {
            self.hold(id).await?
        } else {
            self.store.release_hold(actor, id).await?
        };
        self.hold_view(hold, &mut HashMap::new()).await
    }

    async fn hold(&self, id: HoldId) -> Result<StoredHold, Error> {
        self.store
            .hold(id)
            .await?
            .ok_or_else(|| Error::not_found("hold", &id))
    }

    /// Whether all of what the hold is about is in the caller's scope.
    async fn sees_hold(
        &self,
        principal: &Principal,
        hold: &StoredHold,
        names: &mut HashMap<ClusterId, Option<Name>>,
    ) -> Result<bool, Error> {
        let Some(scope) = &principal.scope else {
            return Ok(true);
        };
        if let Some(id) = hold.cluster {
            let name = self.name_of(id, names).await?;
            return Ok(name.is_some_and(|name| scope.covers(&name)));
        }
        match &hold.target_group {
            Some(arn) => self.sees_whole(principal, arn).await,
            None => Ok(false),
        }
    }

    async fn name_of(
        &self,
        id: ClusterId,
        names: &mut HashMap<ClusterId, Option<Name>>,
    ) -> Result<Option<Name>, Error> {
        if let Entry::Vacant(unknown) = names.entry(id) {
            let state = self.store.cluster_by_id(id).await?;
            unknown.insert(state.map(|state| state.cluster.name));
        }
        Ok(names.get(&id).cloned().flatten())
    }

    async fn hold_view(
        &self,
        hold: StoredHold,
        names: &mut HashMap<ClusterId, Option<Name>>,
    ) -> Result<HoldView, Error> {
        let StoredHold {
            id,
            shard,
            target_group,
            cluster,
            hold,
            since,
            released_at,
            released_by,
            ended_at,
        } = hold;
        let cluster = match cluster {
            None => None,
            Some(id) => self.name_of(id, names).await?,
        };
        Ok(HoldView {
            id,
            shard,
            target_group,
            cluster,
            hold,
            since,
            released_at,
            released_by,
            ended_at,
        })
    }
}
