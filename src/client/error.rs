//! Why a server wasn't asked or gave no answer, and what to do about it.

use std::{error::Error, io, time::Duration};

use rustls::{AlertDescription, CertificateError as TlsCertificateError, Error as TlsError};

use super::ServerAddress;
use crate::tls::in_words;

/// What a server hasn't done in time that may have the request.
pub const ANSWERED: &str = "answered";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host has no address.
    #[error("failed to find {server} by its name: {source}; correct the name, or what resolves it")]
    Name {
        /// The server.
        server: ServerAddress,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error(
        "failed to connect to {server}: {source}; see that the server runs and listens at this port, and that no network policy or firewall stands between"
    )]
    Connect {
        /// The server.
        server: ServerAddress,
        /// What the system says.
        source: io::Error,
    },
    /// Time is up.
    #[error(
        "{server} has not {what} within {patience:?}; see that the server runs and that no network policy or firewall stands between, or give more time with --timeout"
    )]
    Late {
        /// The server.
        server: ServerAddress,
        /// What it has not done, as a participle.
        what: &'static str,
        /// How long that was waited for.
        patience: Duration,
    },
    /// The server's certificate isn't trusted.
    #[error("failed to trust {server}: {why}")]
    Untrusted {
        /// The server.
        server: ServerAddress,
        /// Why, and what to do.
        why: String,
    },
    /// The server lets nobody in with this certificate.
    #[error("{server} refused the client certificate: {why}")]
    Refused {
        /// The server.
        server: ServerAddress,
        /// Why, as far as the server tells, and what to do.
        why: String,
    },
    /// What is there doesn't speak as a headcount server does.
    #[error("failed to talk with {server}: {why}")]
    Spoken {
        /// The server.
        server: ServerAddress,
        /// Why, and what to do.
        why: String,
    },
    /// The connection ended: whether the request was carried out isn't known.
    #[error(
        "failed to talk with {server}: the connection ended before an answer came ({why}); its log says why, if it is headcount"
    )]
    Ended {
        /// The server.
        server: ServerAddress,
        /// What the HTTP library says.
        why: String,
    },
}

impl ClientError {
    /// What an error means that ended a handshake or a request.
    pub(super) fn of(server: &ServerAddress, error: &(dyn Error + 'static)) -> Self {
        let server = server.clone();
        match tls_error(error) {
            Some(TlsError::InvalidCertificate(certificate)) => Self::Untrusted {
                why: untrusted(certificate),
                server,
            },
            Some(TlsError::AlertReceived(alert)) => match refused(*alert) {
                Some(why) => Self::Refused {
                    why: why.into(),
                    server,
                },
                None => Self::Spoken {
                    why: format!("it ended the handshake with the alert {alert:?}; TLS 1.3 is needed on both sides"),
                    server,
                },
            },
            Some(TlsError::InvalidMessage(_)) => Self::Spoken {
                why: "what listens there doesn't speak TLS; give the port of the API, not that of probes and metrics".into(),
                server,
            },
            Some(TlsError::PeerIncompatible(_)) => Self::Spoken {
                why: "what listens there doesn't offer TLS 1.3; see that it is headcount, and no proxy that ends TLS stands between".into(),
                server,
            },
            Some(other) => Self::Spoken {
                why: format!("TLS failed ({})", in_words(other)),
                server,
            },
            None => Self::Ended {
                why: cut_off(error).map_or_else(|| chain(error), str::to_owned),
                server,
            },
        }
    }
}

/// How a connection was lost, if that is what an error tells of: the libraries' words are for programmers.
fn cut_off(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let io = causes(error).find_map(|e| e.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => Some("it was cut off"),
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => Some("it was reset"),
        _ => {
            let hyper = causes(error).find_map(|e| e.downcast_ref::<hyper::Error>());
            hyper
                .filter(|e| e.is_incomplete_message())
                .map(|_| "it was closed")
        }
    }
}

/// An error and all that led to it, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<_> = causes(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// The error of TLS that an error came from, if it came from one.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    causes(error).find_map(|e| {
        // An I/O error hides what it holds from whoever asks for its source.
        let held = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        e.downcast_ref()
            .or_else(|| held.and_then(|held| held.downcast_ref()))
    })
}

/// An error, then what it came from, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| (**e).source())
}

fn untrusted(error: &TlsCertificateError) -> String {
    match error {
        TlsCertificateError::UnknownIssuer | TlsCertificateError::BadSignature => {
            "its certificate comes from none of the CAs in --ca; give the CA that issued it".into()
        }
        TlsCertificateError::NotValidForName | TlsCertificateError::NotValidForNameContext { .. } => {
            let names = match error {
                TlsCertificateError::NotValidForNameContext { presented, .. } => presented.join(", "),
                _ => String::new(),
            };
            format!("its certificate is for other names [{names}]; call it by one of them, or issue one for this name too")
        }
        TlsCertificateError::Expired | TlsCertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it, or set this machine's clock".into()
        }
        TlsCertificateError::NotValidYet | TlsCertificateError::NotValidYetContext { .. } => {
            "its certificate isn't valid yet; set this machine's clock, or the one of whoever issued it".into()
        }
        other => in_words(&TlsError::InvalidCertificate(other.clone())),
    }
}

/// What an alert says of the client's certificate; `None` if it is about something else.
fn refused(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::UnknownCA => {
            "its CA is none of the server's client CAs; use a certificate of one of them (the server's log has the reason)"
        }
        AlertDescription::CertificateExpired => {
            "it has expired or isn't valid yet; renew it, or set the clocks"
        }
        AlertDescription::CertificateRevoked => "it is revoked; issue another one",
        AlertDescription::UnsupportedCertificate => {
            "it isn't for clients; issue one with the extended key usage clientAuth"
        }
        AlertDescription::CertificateRequired
        | AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "the server's log has the reason, in the line tls.client.refused"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_told_of_in_our_own_words() {
        let server: ServerAddress = "https://localhost:1".parse().unwrap();
        let eof = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual";
        for (kind, words) in [
            (io::ErrorKind::UnexpectedEof, "it was cut off"),
            (io::ErrorKind::ConnectionReset, "it was reset"),
            (io::ErrorKind::BrokenPipe, "it was reset"),
        ] {
            let told = ClientError::of(&server, &io::Error::new(kind, eof)).to_string();
            assert!(
                told.contains(&format!("an answer came ({words});")),
                "{told}"
            );
            assert!(!told.contains("rustls"), "{told}");
        }
    }
}
