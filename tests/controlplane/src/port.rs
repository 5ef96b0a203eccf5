//! Free ports on loopback.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which outgoing connections get theirs: a server that is killed and started again must find its port
/// free, and a client that dials it meanwhile must not be given that very port and so reach itself.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody else gets as long as this lives. Drop it right before the server that is to have the port starts.
#[derive(Debug)]
pub(crate) struct Reserved {
    listener: TcpListener,
    port: u16,
}

impl Reserved {
    pub(crate) fn new() -> io::Result<Self> {
        let mut last = io::ErrorKind::AddrInUse.into();
        for _ in 0..200 {
            let port = fastrand::u16(RANGE);
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(listener) => return Ok(Self { listener, port }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn release(self) {
        drop(self.listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_taken_until_it_is_released() {
        let reserved = Reserved::new().unwrap();
        let port = reserved.port();
        assert!(RANGE.contains(&port));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        reserved.release();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
