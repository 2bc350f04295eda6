//! What both gRPC services share: who calls, and how an error is told.

use control::{Control, Error, Principal, Token};
use tonic::{Status, metadata::MetadataMap};

use crate::problem::{self, Kind};

/// Who calls, by the bearer token.
pub(crate) async fn principal(control: &Control, metadata: &MetadataMap) -> Result<Principal, Status> {
    let header = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = header
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(Token::parse);
    let token = token.ok_or_else(|| status(&Error::Unauthenticated))?;
    control.authenticate(&token).await.map_err(|error| status(&error))
}

/// A use case's error in gRPC.
pub(crate) fn status(error: &Error) -> Status {
    problem::log(error);
    Status::new(Kind::Refused(error.kind()).row().code, error.to_string())
}
