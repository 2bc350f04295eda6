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
            views.push(self.hold_view(hold, &mut names).await?);
        }
        Ok(Listing { items: views, next })
    }

    pub async fn get_hold(&self, principal: &Principal, id: HoldId) -> Result<HoldView, Error> {
        principal.read("read holds")?;
        let hold = self.hold(id).await?;
        self.hold_view(hold, &mut HashMap::new()).await
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
            Some(id) => {
                if let Entry::Vacant(unknown) = names.entry(id) {
                    unknown.insert(
                        self.store
                            .cluster_by_id(id)
                            .await?
                            .map(|state| state.cluster.name),
                    );
                }
                names.get(&id).cloned().flatten()
            }
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
