//! Who changed what.

use store::AuditEntry;

use crate::{Control, Error, Listing, Page, Principal, text};

/// Which entries; what is not given is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The name of the token that was used.
    pub actor: Option<String>,
    pub object: Option<String>,
}

impl Control {
    /// The audit log, the newest entry first; for a caller with a scope what was done in it.
    pub async fn list_audit(
        &self,
        principal: &Principal,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listing<AuditEntry>, Error> {
        principal.read("read the audit log")?;
        let Filter { actor, object } = filter;
        for (field, value) in [("actor", actor), ("object", object)] {
            value
                .as_deref()
                .map_or(Ok(()), |value| text::line(field, value))?;
        }
        let before = page.after::<i64>()?;
        let entries = self
            .store
            .audit(
                principal.scope.as_ref(),
                actor.as_deref(),
                object.as_deref(),
                before,
                page.rows(),
            )
            .await?;
        Ok(page.cut(entries, |entry| entry.id.to_string()))
    }
}
