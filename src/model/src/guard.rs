//! The numbers that guard removals (`src/README.md`, "Removals"). All are settings.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How much may be removed without proof, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Guards {
    /// How long an unproven absence must last before it counts. A flap shorter than this costs nothing.
    pub hold_down: SignedDuration,
    /// The sliding window of `unproven_percent`.
    pub window: SignedDuration,
    /// Without confirmation no window removes more than this share of the targets at its start, but at least one.
    pub unproven_percent: u8,
    /// Confirmed removals go in waves of `unproven_percent`, this far apart.
    pub wave_interval: SignedDuration,
    /// How long the cluster's confirmation of an absence counts.
    pub confirmation_ttl: SignedDuration,
    /// Targets that are merely not ready never take a group below this share of its targets, nor below one.
    pub not_ready_floor_percent: u8,
    /// A cluster without a sign of its agent for this long is silent: nothing unproven is removed for it.
    pub silent_after: SignedDuration,
    /// More than this share of the clusters silent …
    pub fleet_percent: u8,
    /// … and at least so many of them …
    pub fleet_least: u32,
    /// … since moments that lie no farther apart than this: removals without proof freeze everywhere.
    pub fleet_window: SignedDuration,
    /// How long an operator's release of a hold counts.
    pub release_ttl: SignedDuration,
    /// What AWS says about a group counts against our own write only if asked this much later: answers may be stale.
    pub consistency_grace: SignedDuration,
    /// Targets that vanish twice within this time are somebody else's doing: nothing is removed until it is over.
    pub contest_window: SignedDuration,
    /// How long new targets wait for the security-group rules that their binding asks for.
    pub opening_wait: SignedDuration,
    pub unbinding: Unbinding,
}

/// When bindings of a cluster that are deleted together are held: a deleted definition, a deleted namespace and lost
/// rights look like many deletions that somebody meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Unbinding {
    pub window: SignedDuration,
    /// More than this share of the object bindings at the window's start is too many.
    pub percent: u8,
    /// As many deletions are always taken at their word.
    pub always_meant: u32,
}

impl Default for Unbinding {
    fn default() -> Self {
        Self {
            window: SignedDuration::from_secs(60),
            percent: 30,
            always_meant: 3,
        }
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            hold_down: SignedDuration::from_secs(5),
            window: SignedDuration::from_secs(60),
            unproven_percent: 30,
            wave_interval: SignedDuration::from_secs(5),
            confirmation_ttl: SignedDuration::from_secs(60),
            not_ready_floor_percent: 50,
            silent_after: SignedDuration::from_secs(30),
            fleet_percent: 15,
            fleet_least: 3,
            fleet_window: SignedDuration::from_secs(60),
            release_ttl: SignedDuration::from_mins(10),
            consistency_grace: SignedDuration::from_secs(15),
            contest_window: SignedDuration::from_hours(1),
            opening_wait: SignedDuration::from_secs(15),
            unbinding: Unbinding::default(),
        }
    }
}

impl Guards {
    /// How many of `live` targets one window (or wave) may remove without proof.
    pub fn allowance(&self, live: usize) -> usize {
        (live * usize::from(self.unproven_percent) / 100).max(1)
    }
}
