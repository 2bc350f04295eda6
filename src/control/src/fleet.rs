//! All clusters together: whether so many are silent that nothing is removed without proof.

use model::fleet::Fleet;

use crate::{Control, Error, Principal, view::FleetView};

impl Control {
    pub async fn get_fleet(&self, principal: &Principal) -> Result<FleetView, Error> {
        principal.read_all("read the fleet's state")?;
        Ok(self.fleet_view(&self.store.fleet().await?))
    }

    /// An operator says that the clusters which are silent now are not coming back. Removals go on, and what is silent
    /// keeps what it has.
    pub async fn release_fleet(&self, principal: &Principal, dry_run: bool) -> Result<FleetView, Error> {
        let actor = principal.write("release the fleet")?;
        if dry_run {
            let mut fleet = self.store.fleet().await?;
            fleet.released_at = Some(fleet.now);
            return Ok(self.fleet_view(&fleet));
        }
        self.store.release_fleet(actor).await?;
        Ok(self.fleet_view(&self.store.fleet().await?))
    }

    fn fleet_view(&self, fleet: &Fleet) -> FleetView {
        let guards = &self.settings.guards;
        let silent = |seen: &&jiff::Timestamp| fleet.now.duration_since(**seen) > guards.silent_after;
        FleetView {
            clusters: fleet.last_seen.len(),
            silent: fleet.last_seen.iter().filter(silent).count(),
            frozen: planner::is_frozen(fleet, guards),
            released_at: fleet.released_at,
        }
    }
}
