//! Bearer tokens: made here, shown once, kept as their hash.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRngCore, rngs::OsRng};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Secret scanners find a token by it.
const PREFIX: &str = "elbow_";
const ENTROPY_BYTES: usize = 32;
/// `PREFIX` and 32 bytes in base64url without padding.
const LENGTH: usize = PREFIX.len() + 43;

/// SHA-256 of a token. A lookup by it tells nothing by its timing: whoever can choose the hash's bits knows the token.
/// No salt or stretching is needed, since a token is 32 random bytes and not a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// A token in the clear: on its way to its owner, or just received.
#[derive(Clone, Debug)]
pub struct Token(SecretString);

impl Token {
    /// A new token from the operating system's random numbers.
    pub fn generate() -> Self {
        let mut bytes = [0; ENTROPY_BYTES];
        OsRng
            .try_fill_bytes(&mut bytes)
            .expect("the operating system gives random bytes once it has booted");
        Self(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// Text that has the form of a token; `None`: it is certainly none.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX)?;
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (text.len() == LENGTH && body.bytes().all(base64url)).then(|| Self(text.to_owned().into()))
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.expose_secret()).into())
    }

    /// The text, to be shown once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_read_back_as_itself() {
        let token = Token::generate();
        assert_eq!(Token::parse(token.expose()).unwrap().hash(), token.hash());
        assert_ne!(Token::generate().hash(), token.hash());
    }

    #[test]
    fn a_token_is_never_in_debug_output() {
        let token = Token::generate();
        assert!(!format!("{token:?} {:?}", token.hash()).contains(&token.expose()[PREFIX.len()..]));
    }

    #[test]
    fn what_is_no_token_is_not_looked_up() {
        let token = Token::generate();
        for text in [
            "",
            "elbow_",
            "Bearer",
            &token.expose()[1..],
            &format!("{}x", token.expose()),
            &"ü".repeat(30),
        ] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
