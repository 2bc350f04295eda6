//! Free loopback ports.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

// Below the range from which systems take ports for outgoing connections: a server that is killed finds its port
// again when it is restarted.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

// Several test processes run at once; each begins elsewhere.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let somewhere = RandomState::new().hash_one(std::process::id()) % u64::from(COUNT);
    AtomicU16::new(u16::try_from(somewhere).expect("the remainder is below 10000"))
});

/// A loopback port that nobody listens on now and that this process has not handed out lately.
///
/// # Panics
/// When ten thousand ports are taken.
pub fn free_port() -> u16 {
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a machine with ten thousand listeners on loopback is not one to run a sandbox on")
}
