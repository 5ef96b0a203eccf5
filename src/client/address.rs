//! Where a server is: `https://HOST[:PORT]`.

use std::{fmt, net::IpAddr, str::FromStr};

use http::{Uri, uri::Scheme};
use rustls::pki_types::ServerName;

/// The port of a URL that names none.
const HTTPS: u16 = 443;

/// Where a server is, and the name that its certificate must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// As the URL has it, with the port if it has one.
    authority: String,
    name: ServerName<'static>,
    port: u16,
}

/// Not the address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give https://HOST or https://HOST:PORT, without a path, like https://headcount.example.org:8443"
)]
pub struct NotAnAddress;

impl ServerAddress {
    /// The name or address to connect to, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands in the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The name that the certificate must have.
    #[must_use]
    pub fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

impl FromStr for ServerAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let uri: Uri = text.parse().map_err(|_| NotAnAddress)?;
        let authority = uri.authority().ok_or(NotAnAddress)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains('#');
        if uri.scheme() != Some(&Scheme::HTTPS) || !bare || authority.as_str().contains('@') {
            return Err(NotAnAddress);
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| NotAnAddress)?,
            // None is also what is no number, or too large a one.
            None if authority.as_str() != authority.host() => return Err(NotAnAddress),
            None => HTTPS,
        };
        if port == 0 {
            return Err(NotAnAddress);
        }
        let host = authority.host();
        let name = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => {
                let address: IpAddr = v6.parse().map_err(|_| NotAnAddress)?;
                ServerName::IpAddress(address.into())
            }
            None => ServerName::try_from(host.to_owned()).map_err(|_| NotAnAddress)?,
        };
        Ok(Self {
            authority: authority.as_str().to_owned(),
            name,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, host, port) in [
            (
                "https://headcount.headcount.svc",
                "headcount.headcount.svc",
                443,
            ),
            ("https://headcount:8443/", "headcount", 8443),
            ("https://127.0.0.1:8443", "127.0.0.1", 8443),
            ("https://[::1]:8443", "::1", 8443),
            ("https://[fd00::1]", "fd00::1", 443),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!((address.host().as_str(), address.port()), (host, port));
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn whatever_else_a_url_may_have_is_refused() {
        for text in [
            "",
            "headcount:8443",
            "http://headcount:8443",
            "https://",
            "https://headcount/api/v1",
            "https://headcount?x=1",
            "https://headcount#x",
            "https://alice@headcount",
            "https://headcount:",
            "https://headcount:0",
            "https://headcount:65536",
            "https://[headcount]",
            "https://head count",
            "https://-",
        ] {
            assert_eq!(text.parse::<ServerAddress>(), Err(NotAnAddress), "{text}");
        }
    }
}
