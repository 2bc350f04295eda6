//! AWS accounts that are entered by a role.

use model::{AccountId, RoleArn, account as model_account};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An AWS account beside our own, and how it is entered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Account {
    /// Twelve digits.
    #[schema(value_type = String)]
    name: AccountId,
    spec: AccountSpec,
    pub(in crate::rest) version: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct AccountSpec {
    /// Assumed with our own credentials for every call to the account.
    role: AssumableRole,
}

/// A role to assume.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct AssumableRole {
    /// `arn:PARTITION:iam::ACCOUNT:role/NAME`.
    #[schema(
        value_type = String,
        pattern = "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[0-9A-Za-z+=,.@_/-]{0,576}[0-9A-Za-z+=,.@_-]$",
        example = "arn:aws:iam::210987654321:role/elbow"
    )]
    arn: RoleArn,
    /// What the role's trust policy demands.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    external_id: Option<String>,
}

/// An account to register or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PutAccount {
    pub(in crate::rest) spec: AccountSpec,
}

impl From<model_account::Account> for Account {
    fn from(account: model_account::Account) -> Self {
        let model_account::Account { id, spec, version } = account;
        let model_account::AccountSpec { role } = spec;
        Self {
            name: id,
            spec: AccountSpec { role: role.into() },
            version,
        }
    }
}

impl From<AccountSpec> for model_account::AccountSpec {
    fn from(spec: AccountSpec) -> Self {
        let AccountSpec { role } = spec;
        Self { role: role.into() }
    }
}

impl From<model_account::AssumableRole> for AssumableRole {
    fn from(role: model_account::AssumableRole) -> Self {
        let model_account::AssumableRole { arn, external_id } = role;
        Self { arn, external_id }
    }
}

impl From<AssumableRole> for model_account::AssumableRole {
    fn from(role: AssumableRole) -> Self {
        let AssumableRole { arn, external_id } = role;
        Self { arn, external_id }
    }
}
