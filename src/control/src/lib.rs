//! The use cases of Elbow and who may call them, free of any transport.
//!
//! One file per aggregate for what people and portals ask ([`Control`]); [`session`] for what an agent states and is
//! told. Every use case takes the caller as a [`Principal`] and decides itself whether it may. Text that users wrote is
//! compiled by `translate` before it is stored: what is wrong with it is stored as a problem beside what it had before,
//! and removes nothing.
//!
//! This crate must not know HTTP, gRPC or protobuf (that is `api`), and never reaches AWS or the reconcile loop: both
//! halves meet in the database. In the ring (see `src/README.md`) it is step 3, ingest, between `api` and `store`, and
//! step 9, deliver, on the way back.

mod accounts;
mod adoption;
pub mod audit;
mod authentication;
pub mod bindings;
mod census;
mod clusters;
mod compile;
pub mod endpoints;
mod error;
pub mod events;
pub mod explain;
mod fleet;
mod holds;
mod list;
pub mod pauses;
mod plans;
mod principal;
mod security_groups;
pub mod session;
mod settings;
mod shards;
pub mod target_groups;
mod teams;
mod text;
mod token;
mod tokens;
pub mod view;
mod wakes;

pub use authentication::ApiRole;
pub use census::Census;
pub use error::{Error, Kind};
pub use list::{Expected, Listing, Page, Write, Written};
pub use principal::{Principal, Role};
pub use settings::Settings;
pub use store::coming_from;
pub use store::{
    AskedOpening, AuditEntry, DeclaredGroup, Event, JournaledPlan, ManagedState, Retention,
    SecurityGroupState, StoredPause, StoredToken,
};
pub use token::{Token, TokenHash};
pub use tokens::{Issued, TokenSpec};

use std::sync::Arc;

use runtime::{Kind as TaskKind, Tasks};
use store::Store;
use wakes::Wakes;

/// The use cases. Clones share everything.
#[derive(Clone, Debug)]
pub struct Control {
    store: Store,
    settings: Arc<Settings>,
    wakes: Wakes,
}

impl Control {
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings: Arc::new(settings),
            wakes: Wakes::default(),
        }
    }

    /// Forgets what is too old, for ever; in batches, so that nobody waits for it.
    async fn forget(&self) {
        loop {
            let pause = match self.store.forget(&self.settings.retention).await {
                Ok(true) => settings::BETWEEN_BATCHES,
                Ok(false) => settings::BETWEEN_LOOKS,
                Err(error) => {
                    tracing::warn!(error = %error, "old records were not forgotten");
                    settings::BETWEEN_LOOKS
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Passes the database's wakes on to the sessions of this process, polls for what they may have missed, judges bindings
    /// anew when AWS has named their target groups, and forgets what is too old.
    pub fn spawn(&self, tasks: &Tasks, heard: store::Wakes) {
        let (wakes, soft) = (self.wakes.clone(), tasks.soft());
        tasks.spawn(TaskKind::Critical, "session wakes", async move {
            soft.run_until_cancelled(wakes.pass_on(heard)).await;
        });
        let (wakes, soft) = (self.wakes.clone(), tasks.soft());
        let poll = wakes.poll(self.store.clone(), self.settings.poll);
        tasks.spawn(TaskKind::Critical, "session poll", async move {
            soft.run_until_cancelled(poll).await;
        });
        let (control, soft) = (self.clone(), tasks.soft());
        tasks.spawn(TaskKind::Critical, "new target groups", async move {
            soft.run_until_cancelled(control.announce()).await;
        });
        let (control, soft) = (self.clone(), tasks.soft());
        tasks.spawn(TaskKind::Critical, "retention", async move {
            soft.run_until_cancelled(control.forget()).await;
        });
    }
}
