//! AWS accounts beside our own, and the roles by which they are entered.

use serde::{Deserialize, Serialize};

use crate::RoleArn;

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssumableRole {
    pub arn: RoleArn,
    /// What the role's owner demands, so that nobody else can have us enter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// How an account is entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountSpec {
    pub role: AssumableRole,
}

/// A registered account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: crate::AccountId,
    pub spec: AccountSpec,
    pub version: i64,
}
