//! Pauses: nothing is written to AWS, while observing and planning go on.

use model::{Name, Shard, pause::Scope};
use store::StoredPause;

use crate::{Control, Error, Principal, bindings::BindingName, text};

/// What is to be paused, by the names that people use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Installation,
    Shard(Shard),
    Cluster(Name),
    Binding(BindingName),
}

impl Control {
    /// All pauses, the widest first.
    pub async fn list_pauses(&self, principal: &Principal) -> Result<Vec<StoredPause>, Error> {
        principal.read_all("list pauses")?;
        Ok(self.store.pauses().await?)
    }

    /// Stops writes to AWS for the subject within a second. A call that is under way is not cut.
    pub async fn pause(
        &self,
        principal: &Principal,
        subject: &Subject,
        reason: &str,
        dry_run: bool,
    ) -> Result<Vec<StoredPause>, Error> {
        let actor = principal.write("pause")?;
        text::line("reason", reason)?;
        let (scope, object) = self.scope(subject).await?;
        if !dry_run {
            self.store.pause(actor, &scope, &object, reason).await?;
        }
        Ok(self.store.pauses().await?)
    }

    /// Lets writes for the subject go on. What a wider or narrower pause covers stays paused; the answer says what.
    pub async fn resume(
        &self,
        principal: &Principal,
        subject: &Subject,
        dry_run: bool,
    ) -> Result<Vec<StoredPause>, Error> {
        let actor = principal.write("resume")?;
        let (scope, object) = self.scope(subject).await?;
        if !dry_run {
            self.store.resume(actor, &scope, &object).await?;
        }
        Ok(self.store.pauses().await?)
    }

    /// The subject, which must exist, with its name for the audit log.
    async fn scope(&self, subject: &Subject) -> Result<(Scope, String), Error> {
        Ok(match subject {
            Subject::Installation => (Scope::Installation, "installation".to_owned()),
            Subject::Shard(shard) => {
                let stored = self.store.shard(shard).await?;
                stored.ok_or_else(|| Error::not_found("shard", shard))?;
                (Scope::Shard(shard.clone()), format!("shard/{shard}"))
            }
            Subject::Cluster(name) => {
                let cluster = self.cluster(name).await?.cluster.id;
                (Scope::Cluster(cluster), format!("cluster/{name}"))
            }
            Subject::Binding(name) => {
                let binding = self.named_binding(name).await?;
                let BindingName { cluster, object } = name;
                (
                    Scope::Binding(binding.binding.id),
                    format!("binding/{cluster}/{object}"),
                )
            }
        })
    }
}
