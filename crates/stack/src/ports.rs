//! Choosing ports on the loopback address.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use crate::StartError;

/// Below the ports that operating systems give to outgoing connections. A client that keeps trying to reach a
/// stopped server on a port of that range can end up connected to itself, and then holds the port.
const RANGE: Range<u16> = 20_000..32_000;
const TRIES: usize = 200;

/// Which port a server is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// This one or fail.
    Fixed(u16),
    /// The one it had last in this directory; else this one; else any that is free.
    Prefer(u16),
    /// The one it had last in this directory; else any that is free.
    #[default]
    Any,
}

impl Port {
    /// Settles on a port that is free at this moment, trying `remembered` early.
    pub(crate) fn choose(self, remembered: Option<u16>) -> Result<u16, StartError> {
        let preferred = match self {
            Self::Fixed(port) if is_free(port) => return Ok(port),
            Self::Fixed(port) => return Err(StartError::PortTaken { port }),
            Self::Prefer(port) => Some(port),
            Self::Any => None,
        };
        let wanted = remembered.into_iter().chain(preferred).find(|p| is_free(*p));
        wanted.map_or_else(|| free().map_err(StartError::NoFreePort), Ok)
    }
}

/// Whether nobody listens on this loopback port now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Differs from call to call and from process to process; good enough to spread choices, not to keep secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A loopback port that is free now, chosen at random so that parallel starts seldom meet.
pub fn free() -> io::Result<u16> {
    let span = u64::from(RANGE.end - RANGE.start);
    for _ in 0..TRIES {
        let offset = u16::try_from(random() % span).map_err(io::Error::other)?;
        let port = RANGE.start + offset;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_port_is_left_for_another_unless_it_is_fixed() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(Port::Prefer(port).choose(None).unwrap(), port);
        assert_ne!(Port::Any.choose(Some(port)).unwrap(), port);
        assert!(matches!(
            Port::Fixed(port).choose(None),
            Err(StartError::PortTaken { port: p }) if p == port
        ));
    }

    #[test]
    fn the_remembered_port_comes_before_the_preferred_one() {
        let (a, b) = (free().unwrap(), free().unwrap());
        assert_eq!(Port::Prefer(b).choose(Some(a)).unwrap(), a);
    }
}
