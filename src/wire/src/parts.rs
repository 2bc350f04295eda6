//! Messages of an agent that are larger than the transport takes: cut into parts by the agent, joined by the server.
//!
//! A reset is one statement, taken as a whole or not at all, however large a cluster is. So it is the encoded message that
//! is cut, and what is joined must be all of it.

use prost::Message as _;

use crate::{
    agent::v1::{AgentMessage, Part, agent_message::Message},
    convert::{ConvertError, Fault},
};

/// The size of a part, and of a message that needs no cutting: others on the connection get their turn in between.
pub const PART_BYTES: usize = 4 * 1024 * 1024;
/// What a server joins at most, so that nobody fills its memory.
pub const MAX_JOINED_BYTES: usize = 256 * 1024 * 1024;

/// The message, or the parts to send in its place.
pub fn cut(message: AgentMessage) -> Vec<AgentMessage> {
    cut_at(message, PART_BYTES)
}

/// The same with parts of another size.
pub fn cut_at(message: AgentMessage, bytes: usize) -> Vec<AgentMessage> {
    if message.encoded_len() <= bytes {
        return vec![message];
    }
    let encoded = message.encode_to_vec();
    let pieces = encoded.chunks(bytes.max(1));
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    (1..)
        .zip(pieces)
        .map(|(number, data)| AgentMessage {
            origin: None,
            message: Some(Message::Part(Part {
                number,
                count,
                data: data.to_vec(),
            })),
        })
        .collect()
}

/// Joins the parts of one stream.
#[derive(Debug, Default)]
pub struct Joiner {
    /// How many parts there are of what is being joined; 0: nothing is.
    count: u32,
    /// The last that came.
    number: u32,
    joined: Vec<u8>,
}

impl Joiner {
    /// Takes the stream's next message. `None`: it is a part, and there are more to come. After an error the stream is of
    /// no use.
    pub fn take(&mut self, message: AgentMessage) -> Result<Option<AgentMessage>, ConvertError> {
        let part = match message.message {
            Some(Message::Part(part)) => part,
            _ if self.count > 0 => return Err(refused("another message", "the next part")),
            _ => return Ok(Some(message)),
        };
        let Part { number, count, data } = part;
        if count == 0 || data.is_empty() {
            return Err(at_part(Fault::Missing));
        }
        let continues = self.count == count || self.count == 0;
        if !continues || number != self.number + 1 || number > count {
            return Err(refused("another part", "the next part"));
        }
        if self.joined.len() + data.len() > MAX_JOINED_BYTES {
            return Err(refused("more", "at most 256 MiB in parts"));
        }
        self.joined.extend_from_slice(&data);
        (self.number, self.count) = (number, count);
        if number < count {
            return Ok(None);
        }
        let Self { joined, .. } = std::mem::take(self);
        let message = AgentMessage::decode(joined.as_slice())
            .map_err(|error| refused(&error.to_string(), "an AgentMessage in parts"))?;
        match message.message {
            Some(Message::Part(_)) => Err(refused("a part", "a message in parts that is none itself")),
            _ => Ok(Some(message)),
        }
    }
}

fn refused(given: &str, expected: &'static str) -> ConvertError {
    at_part(Fault::Unreadable {
        given: given.to_owned(),
        expected,
    })
}

fn at_part(fault: Fault) -> ConvertError {
    ConvertError {
        path: "part".to_owned(),
        fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::v1::{Heartbeat, Unsynced};

    fn long() -> AgentMessage {
        AgentMessage {
            origin: None,
            message: Some(Message::Unsynced(Unsynced {
                epoch: 7,
                kind: "Service".to_owned(),
                reason: "x".repeat(1000),
                namespace: String::new(),
            })),
        }
    }

    fn beat() -> AgentMessage {
        AgentMessage {
            origin: None,
            message: Some(Message::Heartbeat(Heartbeat {
                epoch: 7,
                ..Heartbeat::default()
            })),
        }
    }

    /// What comes of them before the first that is neither a part nor right.
    fn joined(messages: Vec<AgentMessage>) -> Option<Result<Option<AgentMessage>, ConvertError>> {
        let mut joiner = Joiner::default();
        messages
            .into_iter()
            .map(|message| joiner.take(message))
            .find(|taken| *taken != Ok(None))
    }

    #[test]
    fn what_fits_is_not_cut_and_what_was_cut_is_joined() {
        assert_eq!(cut(long()), [long()]);
        for bytes in [1, 7, 999, 1000, 1015] {
            let parts = cut_at(long(), bytes);
            assert!(parts.len() > 1, "{bytes}");
            assert_eq!(joined(parts), Some(Ok(Some(long()))), "{bytes}");
        }
        let mut joiner = Joiner::default();
        for part in cut_at(long(), 300) {
            joiner.take(part).unwrap();
        }
        assert_eq!(joiner.take(beat()), Ok(Some(beat())), "it begins anew");
    }

    #[test]
    fn a_part_that_is_missing_repeated_or_interrupted_is_an_error_and_never_a_shorter_message() {
        let parts = cut_at(long(), 300);
        for at in 0..parts.len() - 1 {
            let mut lacking = parts.clone();
            lacking.remove(at);
            assert!(matches!(joined(lacking), Some(Err(_))), "without {at}");
            let mut twice = parts.clone();
            twice.insert(at, parts[at].clone());
            assert!(matches!(joined(twice), Some(Err(_))), "{at} twice");
            let mut interrupted = parts.clone();
            interrupted.insert(at + 1, beat());
            assert!(matches!(joined(interrupted), Some(Err(_))), "a beat after {at}");
        }
        assert_eq!(joined(parts[..2].to_vec()), None, "it waits for the rest");
    }

    #[test]
    fn parts_of_parts_and_empty_parts_are_refused() {
        let nested = cut_at(cut_at(long(), 300).remove(0), 100);
        assert!(matches!(joined(nested), Some(Err(_))));
        let empty = Part {
            number: 1,
            count: 1,
            data: Vec::new(),
        };
        let empty = AgentMessage {
            origin: None,
            message: Some(Message::Part(empty)),
        };
        assert!(Joiner::default().take(empty).is_err());
    }
}
