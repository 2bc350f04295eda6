//! Which agents are understood.

use crate::Error;

/// The protocol of this build. Its neighbours are understood too, so that server and agents can be upgraded in either
/// order; before the first there was none.
const PROTOCOL: u32 = 1;
const OLDEST: u32 = 1;
const NEWEST: u32 = PROTOCOL + 1;

/// The protocol that a stream with this agent speaks.
pub(super) fn negotiate(given: u32) -> Result<u32, Error> {
    let advice = match given {
        OLDEST..=NEWEST => return Ok(given.min(PROTOCOL)),
        ..OLDEST => "upgrade the agent",
        _ => "upgrade the server, or install an older agent",
    };
    Err(Error::Protocol {
        given,
        oldest: OLDEST,
        newest: NEWEST,
        advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbouring_protocol_is_understood_and_a_farther_one_is_refused_with_the_way_out() {
        assert_eq!(negotiate(1).unwrap(), 1);
        assert_eq!(negotiate(2).unwrap(), 1);
        let error = negotiate(3).unwrap_err().to_string();
        assert!(
            error.contains("1 to 2") && error.contains("upgrade the server"),
            "{error}"
        );
        assert!(negotiate(0).is_err());
    }
}
