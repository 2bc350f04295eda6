//! Teams.

use serde::{Deserialize, Serialize};

use crate::{Name, scope::Scope};

/// What a team has. Its tokens are for these places, as they are when a token is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TeamSpec {
    pub scope: Scope,
}

/// People and portals whose tokens reach the same places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    pub name: Name,
    pub spec: TeamSpec,
    pub version: i64,
}
