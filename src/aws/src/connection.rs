//! One process's way to AWS: a shared HTTP client, and a configuration per shard derived from one base.

use std::{
    collections::{BTreeSet, HashMap},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    identity::IdentityCache,
};
use aws_credential_types::{Credentials as Keys, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use jiff::Timestamp;
use model::{AccountId, Shard, account::AssumableRole};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;

use crate::{Credentials, Error, Metrics, Settings, ShardClient, budget::Start, role::ByRole};

/// Shards of other accounts whose credentials are kept.
const IDENTITIES: usize = 2000;

/// What time it is, on the clock that observations are compared on.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// AWS, for this process. One is enough: it holds the connections and the credentials.
pub struct Aws {
    settings: Arc<Settings>,
    metrics: Metrics,
    clock: Clock,
    base: SdkConfig,
    shards: Mutex<HashMap<Shard, ShardClient>>,
    /// By which role each account is entered that is not that of our own credentials.
    roles: Mutex<HashMap<AccountId, AssumableRole>>,
}

impl Aws {
    /// Sets up the way to AWS. Nothing is sent yet.
    pub async fn new(settings: Settings, metrics: Metrics, clock: Clock) -> Result<Self, Error> {
        let http = http_client(&settings).await?;
        Ok(Self::with_http_client(settings, metrics, clock, http).await)
    }

    pub(crate) async fn with_http_client(
        settings: Settings,
        metrics: Metrics,
        clock: Clock,
        http: SharedHttpClient,
    ) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .operation_attempt_timeout(settings.attempt_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            // Each shard names its own. This one is for STS alone; the SDK's whole chain would ask the instance.
            .region(EnvironmentVariableRegionProvider::new())
            // Every attempt is paid for from the budget, and a write is not repeated before its outcome is recorded.
            .retry_config(RetryConfig::disabled())
            // Each shard of another account has an identity of its own; the default holds 64 and would fetch the rest for ever.
            .identity_cache(IdentityCache::lazy().max_partitions(IDENTITIES).build())
            .timeout_config(timeouts);
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Credentials::Static {
            access_key_id,
            secret_access_key,
        } = &settings.credentials
        {
            let secret = secret_access_key.expose_secret();
            loader = loader.credentials_provider(Keys::new(access_key_id, secret, None, None, "settings"));
        }
        let base = loader.load().await;
        Self {
            settings: Arc::new(settings),
            metrics,
            clock,
            base,
            shards: Mutex::default(),
            roles: Mutex::default(),
        }
    }

    /// The client of a shard. All callers share its budget.
    pub fn shard(&self, shard: &Shard) -> ShardClient {
        let mut shards = self.shards();
        shards
            .entry(shard.clone())
            .or_insert_with(|| self.client(shard, Start::Full))
            .clone()
    }

    /// The client of a shard for a writer that succeeds another: the former may have spent the budget a moment ago, so
    /// that the writing buckets start empty. Clients of the shard that were given out before keep their old budget.
    pub fn take_over(&self, shard: &Shard) -> ShardClient {
        let client = self.client(shard, Start::Empty);
        self.shards().insert(shard.clone(), client.clone());
        client
    }

    /// Says by which roles accounts are entered from now on. Answers those for which that is news: clients that were given
    /// out for them keep the credentials that they had.
    pub fn enter_by(&self, roles: HashMap<AccountId, AssumableRole>) -> Vec<AccountId> {
        let mut known = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        let accounts: BTreeSet<_> = known.keys().chain(roles.keys()).collect();
        let news: Vec<_> = accounts
            .into_iter()
            .filter(|account| known.get(account) != roles.get(account))
            .cloned()
            .collect();
        *known = roles;
        drop(known);
        self.shards().retain(|shard, _| !news.contains(&shard.account));
        news
    }

    fn client(&self, shard: &Shard, start: Start) -> ShardClient {
        let region = Region::new(shard.region.as_str().to_owned());
        let base = self.base.clone().into_builder().region(region).build();
        let roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        let config = match roles.get(&shard.account) {
            None => base,
            Some(role) => {
                let provider = SharedCredentialsProvider::new(ByRole::new(role.clone(), base.clone()));
                base.into_builder().credentials_provider(provider).build()
            }
        };
        drop(roles);
        ShardClient::new(shard, &config, &self.settings, &self.metrics, &self.clock, start)
    }

    fn shards(&self) -> MutexGuard<'_, HashMap<Shard, ShardClient>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

async fn http_client(settings: &Settings) -> Result<SharedHttpClient, Error> {
    // The client takes a machine without certificates, and a bad file, for a bug and panics.
    let machine_has_roots = !rustls_native_certs::load_native_certs().certs.is_empty();
    let mut trust = TrustStore::empty().with_native_roots(machine_has_roots);
    if let Some(path) = &settings.ca_file {
        let unusable = |source| Error::CaFile {
            path: path.clone(),
            source,
        };
        let pem = tokio::fs::read(path).await.map_err(unusable)?;
        check_certificates(&pem).map_err(|why| unusable(io::Error::new(io::ErrorKind::InvalidData, why)))?;
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| Error::Tls(error.into()))?;
    Ok(Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https())
}

fn check_certificates(pem: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        Err("it has no certificate".into())
    } else {
        Ok(())
    }
}
