//! Teams.

use model::{
    Name,
    scope::{Place, Scope},
    team as model_team,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// People and portals whose tokens reach the same places.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Team {
    #[schema(value_type = String)]
    name: Name,
    spec: TeamSpec,
    pub(in crate::rest) version: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct TeamSpec {
    /// What its tokens are for: `CLUSTER` or `CLUSTER/NAMESPACE`. A change is valid for all of them at once.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    scope: Vec<Place>,
}

/// A team to make or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PutTeam {
    pub(in crate::rest) spec: TeamSpec,
}

impl From<model_team::Team> for Team {
    fn from(team: model_team::Team) -> Self {
        let model_team::Team { name, spec, version } = team;
        let model_team::TeamSpec { scope } = spec;
        Self {
            name,
            spec: TeamSpec { scope: scope.0 },
            version,
        }
    }
}

impl From<TeamSpec> for model_team::TeamSpec {
    fn from(spec: TeamSpec) -> Self {
        let TeamSpec { scope } = spec;
        Self { scope: Scope(scope) }
    }
}
