//! What operators look at and do: audit, events, pauses, tokens.

use control::{AuditEntry as StoredEntry, Event as StoredEvent, StoredPause, StoredToken};
use jiff::Timestamp;
use model::{Name, pause::Scope, scope::Place};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who changed what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct AuditEntry {
    id: i64,
    at: Timestamp,
    /// The name of the token that was used.
    actor: String,
    /// `cluster.put`, `hold.release`, …
    action: String,
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    before: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    after: Option<serde_json::Value>,
}

impl From<StoredEntry> for AuditEntry {
    fn from(entry: StoredEntry) -> Self {
        let StoredEntry {
            id,
            at,
            actor,
            action,
            object,
            before,
            after,
        } = entry;
        Self {
            id,
            at,
            actor,
            action,
            object,
            before,
            after,
        }
    }
}

/// A change: the `data` of an event of the stream. Its `id` is what `Last-Event-ID` takes, and its type is `change`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    at: Timestamp,
    /// `binding.status`, `cluster.put`, `hold.opened`, `plan.applied`, … Later versions add words.
    change: String,
    /// The resource's name: `east`, `east/shop/web`, an id.
    object: String,
    /// What there is to say about it in short.
    #[schema(value_type = Object)]
    body: serde_json::Value,
}

impl From<StoredEvent> for Event {
    fn from(event: StoredEvent) -> Self {
        let StoredEvent {
            id: _,
            at,
            change,
            object,
            body,
        } = event;
        Self {
            at,
            change,
            object,
            body,
        }
    }
}

/// Where nothing is written to AWS, by whose word and why.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Pause {
    /// `installation`, `shard/PARTITION/ACCOUNT/REGION`, `cluster/NAME` or `binding/CLUSTER/NAMESPACE/NAME`.
    subject: String,
    paused_by: String,
    reason: String,
    since: Timestamp,
}

impl From<StoredPause> for Pause {
    fn from(stored: StoredPause) -> Self {
        let StoredPause {
            scope,
            cluster,
            binding,
            pause,
        } = stored;
        let cluster = cluster.as_ref().map(Name::to_string).unwrap_or_default();
        let subject = match (scope, binding) {
            (Scope::Installation, _) => "installation".to_owned(),
            (Scope::Shard(shard), _) => format!("shard/{shard}"),
            (Scope::Cluster(_), _) => format!("cluster/{cluster}"),
            (Scope::Binding(_), Some(binding)) => format!("binding/{cluster}/{binding}"),
            (Scope::Binding(id), None) => format!("binding/{id}"),
        };
        let model::pause::Pause { by, reason, since } = pause;
        Self {
            subject,
            paused_by: by,
            reason,
            since,
        }
    }
}

/// Why something is paused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PutPause {
    /// One line, for whoever finds it paused.
    #[schema(min_length = 1, max_length = 253)]
    pub(crate) reason: String,
}

/// A token, without itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Token {
    id: uuid::Uuid,
    name: String,
    /// `admin`, `editor`, `viewer` or `agent`.
    role: String,
    /// Of an agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    cluster: Option<Name>,
    created_at: Timestamp,
    /// Absent: it does not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
    /// `CLUSTER` or `CLUSTER/NAMESPACE`; of a team's what the team has of it now; absent without a team: everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    scope: Vec<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    team: Option<Name>,
    /// The token that made it and that it ends with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    issuer: Option<uuid::Uuid>,
    /// To the minute; absent: never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<Timestamp>,
}

impl From<StoredToken> for Token {
    fn from(token: StoredToken) -> Self {
        let StoredToken {
            id,
            name,
            role,
            cluster,
            scope,
            team,
            issuer,
            created_at,
            expires_at,
            last_used_at,
        } = token;
        Self {
            id,
            name,
            role,
            cluster,
            created_at,
            expires_at,
            scope: scope.map_or_else(Vec::new, |scope| scope.0),
            team,
            issuer,
            last_used_at,
        }
    }
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PostToken {
    /// Who owns it; the audit log says this name.
    #[schema(min_length = 1, max_length = 253)]
    pub(crate) name: String,
    pub(crate) role: TokenRole,
    /// `CLUSTER` or `CLUSTER/NAMESPACE`; absent: all that its team has, and without a team all that its maker has.
    #[serde(default, deserialize_with = "super::stated")]
    #[schema(value_type = Vec<String>, nullable = false, min_items = 1, max_items = 1000)]
    pub(crate) scope: Option<Vec<Place>>,
    /// Absent: the team of its maker.
    #[serde(default, deserialize_with = "super::stated")]
    #[schema(value_type = String, nullable = false)]
    pub(crate) team: Option<Name>,
    /// After how long it ends, e.g. `90d`; absent: with the token that makes it, or never.
    #[serde(default, deserialize_with = "super::stated")]
    #[schema(pattern = "^[0-9]{1,6}[smhd]$", nullable = false)]
    pub(crate) expires_in: Option<String>,
}

/// What its owner may do.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TokenRole {
    Admin,
    Editor,
    Viewer,
}

impl From<TokenRole> for control::ApiRole {
    fn from(role: TokenRole) -> Self {
        match role {
            TokenRole::Admin => Self::Admin,
            TokenRole::Editor => Self::Editor,
            TokenRole::Viewer => Self::Viewer,
        }
    }
}
