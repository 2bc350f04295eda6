//! The server's identity.

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};

/// A certificate chain and its key, in PEM.
#[derive(Clone)]
pub struct Pem {
    pub certificates: Vec<u8>,
    key: SecretSlice<u8>,
}

impl Pem {
    pub fn new(certificates: Vec<u8>, key: Vec<u8>) -> Self {
        Self {
            certificates,
            key: key.into(),
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.key.expose_secret()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}
