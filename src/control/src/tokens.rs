//! The tokens of people, portals and agents. A token is ended in the database, so no process needs to be restarted.

use std::time::Duration;

use store::StoredToken;
use uuid::Uuid;

use crate::{ApiRole, Control, Error, Listing, Page, Principal, Token, text};

/// The longest life and the longest overlap that can be asked for.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 10);

impl Control {
    pub async fn list_tokens(
        &self,
        principal: &Principal,
        page: &Page,
    ) -> Result<Listing<StoredToken>, Error> {
        principal.write("list tokens")?;
        let after = page.after::<Uuid>()?;
        let tokens = self.store.tokens(after, page.rows()).await?;
        Ok(page.cut(tokens, |token| token.id.to_string()))
    }

    /// A new token, shown this once. The tokens that were made before under the name stay valid, so that it can take
    /// their place without a gap.
    pub async fn issue_token(
        &self,
        principal: &Principal,
        name: &str,
        role: ApiRole,
        lifetime: Option<Duration>,
    ) -> Result<Token, Error> {
        let actor = principal.write("issue tokens")?;
        text::line("name", name)?;
        if lifetime.is_some_and(|lifetime| lifetime.is_zero() || lifetime > LONGEST) {
            return Err(Error::at(
                "expiresIn",
                "a token lives for a second to ten years, or without end",
            ));
        }
        let token = Token::generate();
        let hash = token.hash();
        self.store
            .add_token(actor, hash.as_bytes(), name, role.into(), None, lifetime)
            .await?;
        Ok(token)
    }

    /// Ends a token, now or after `overlap`.
    pub async fn end_token(&self, principal: &Principal, id: Uuid, overlap: Duration) -> Result<(), Error> {
        let actor = principal.write("end tokens")?;
        if overlap > LONGEST {
            return Err(Error::at("overlap", "say at most ten years"));
        }
        Ok(self.store.expire_token(actor, id, overlap).await?)
    }
}
