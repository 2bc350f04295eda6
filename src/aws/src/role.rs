//! Credentials of another account, by a role that its owner lets us assume.

use aws_config::{SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::{ProvideCredentials, future};
use model::account::AssumableRole;
use tokio::sync::OnceCell;

/// What the account's CloudTrail says who it was.
const SESSION: &str = "elbow";

/// Assumes the role with our own credentials, which the SDK keeps until they run out. One per client: a provider that is
/// made again is another identity to the SDK's cache.
#[derive(Debug)]
pub(crate) struct ByRole {
    role: AssumableRole,
    own: SdkConfig,
    provider: OnceCell<AssumeRoleProvider>,
}

impl ByRole {
    pub(crate) fn new(role: AssumableRole, own: SdkConfig) -> Self {
        Self {
            role,
            own,
            provider: OnceCell::new(),
        }
    }

    async fn assume(&self) -> AssumeRoleProvider {
        let AssumableRole { arn, external_id } = &self.role;
        let mut builder = AssumeRoleProvider::builder(arn.to_string())
            .configure(&self.own)
            .session_name(SESSION);
        if let Some(external_id) = external_id {
            builder = builder.external_id(external_id);
        }
        builder.build().await
    }
}

impl ProvideCredentials for ByRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let provider = self.provider.get_or_init(|| self.assume()).await;
            provider.provide_credentials().await
        })
    }
}
