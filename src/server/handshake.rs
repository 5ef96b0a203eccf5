//! Who connects: the handshake, its turn and its time, and where a client is refused.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, info, warn};

use super::{Server, metered::Metered, places::Place};
use crate::{
    audit::{Record, Refused},
    generation::Session,
    limits::{Limit, Limits, Who, in_runs},
    tls::{Refusal, Shown},
};

/// How long a refused client has for reading the alert that says why.
const LINGER: Duration = Duration::from_secs(1);

impl Server {
    /// Who connects: waits for the client's first byte, then for its turn, then shakes hands, all under one deadline.
    pub(super) async fn client(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        place: &mut Place,
        limits: &Limits,
    ) -> Option<(Box<TlsStream<Metered>>, Session)> {
        let deadline = Instant::now() + limits.times.handshake;
        let turn = async {
            // Whoever says nothing takes nobody's turn. That a socket may be readable isn't enough: now and then it isn't.
            let _ = tcp.peek(&mut [0]).await;
            let began = Instant::now();
            (
                began,
                self.places.shake(limits.connections.handshakes).await,
            )
        };
        let Ok((began, turn)) = timeout_at(deadline, turn).await else {
            self.refused(address, Refusal::timeout(), None);
            return None;
        };
        let tcp = Metered::new(tcp, limits.sizes.handshake);
        let runs = self.address(address).runs();
        let shaking = Box::pin(in_runs(runs, self.handshake(tcp, address, deadline)));
        let shaken = tokio::select! {
            shaken = shaking => shaken,
            () = turn.ousted() => {
                self.refused(address, Refusal::by(Limit::Handshakes), None);
                return None;
            }
        };
        drop(turn);
        self.metrics.http.shaken(shaken.is_ok(), began.elapsed());
        let (stream, session) = match shaken {
            Ok(client) => client,
            Err(refused) => {
                if let Some(tcp) = refused {
                    linger(tcp).await;
                }
                return None;
            }
        };
        let caller = session.caller();
        let most = limits.connections.per_identity;
        if place.is_of(caller.identity_key(), most) {
            return Some((stream, session));
        }
        self.reached(Limit::IdentityConnections, &caller);
        Some((stream, session.crowded(most)))
    }

    /// The handshake. A client is refused, and that logged, here; what is left then is its socket, on which an alert is on its way.
    async fn handshake(
        &self,
        tcp: Metered,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<(Box<TlsStream<Metered>>, Session), Option<TcpStream>> {
        let generation = Arc::clone(&self.generations.current());
        let acceptor = TlsAcceptor::from(Arc::clone(&generation.tls));
        let shaking = Shown::watching(timeout_at(deadline, acceptor.accept(tcp).into_fallible()));
        let (shaken, shown) = shaking.await;
        let mut refused = None;
        let refusal = match shaken {
            Ok(Ok(mut stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                match generation.admit(chain, address) {
                    Ok(caller) => {
                        self.metrics.http.handshake("accepted");
                        self.metrics.expiry.client(caller.identity.expiry());
                        info!(name: "tls.client.accepted", principal = %caller.name(), subject = %caller.identity.subject, serial = %caller.identity.serial,
                            issuer = %caller.identity.issuer, address = %address, "client accepted");
                        let (chain, generations) = (chain.to_vec(), Arc::clone(&self.generations));
                        stream.get_mut().0.unmetered();
                        // Boxed, or each that hands it on keeps a place of its size.
                        let stream = Box::new(stream);
                        return Ok((stream, Session::new(chain, caller, generations)));
                    }
                    Err(refusal) => Some(refusal),
                }
            }
            Ok(Err((_, tcp))) if tcp.exhausted() => Some(Refusal::by(Limit::HandshakeSize)),
            Ok(Err((error, tcp))) => {
                refused = Some(tcp.into_inner());
                Refusal::of(&error)
            }
            Err(_elapsed) => Some(Refusal::timeout()),
        };
        match refusal {
            None => {
                self.metrics.http.handshake("Abandoned");
                debug!(name: "tls.client.left", address = %address, "the peer left before a handshake");
            }
            Some(refusal) => self.refused(address, refusal, shown.as_ref()),
        }
        Err(refused)
    }

    /// Counts and tells of a client that isn't let in; `shown`: whose certificate it was, where there was one.
    fn refused(&self, address: SocketAddr, refusal: Refusal, shown: Option<&Shown>) {
        let Refusal {
            reason,
            suspicious,
            detail,
        } = refusal;
        self.metrics.http.handshake(reason);
        let limits = [
            Limit::HandshakeTimeout,
            Limit::HandshakeSize,
            Limit::Handshakes,
        ];
        if let Some(limit) = limits.into_iter().find(|limit| limit.name() == reason) {
            self.metrics.limits.reached(
                limit,
                Who {
                    address: Some(address.ip()),
                    ..Who::default()
                },
            );
        }
        let subject = shown.map(|shown| shown.subject.as_str());
        let serial = shown.map(|shown| shown.serial.as_str());
        let issuer = shown.map(|shown| shown.issuer.as_str());
        let names = shown.map(|shown| shown.names.as_str());
        self.audit.refused(Refused::Handshake, || {
            Record::of("tls.client.refused")
                .with("subject", subject)
                .with("serial", serial)
                .with("issuer", issuer)
                .with("names", names)
                .from(address)
                .with("reason", reason)
                .with("result", "denied")
                .with("error", detail.as_str())
        });
        if suspicious {
            warn!(name: "tls.client.refused", reason, subject, serial, issuer, names, address = %address, error = %detail, "client refused: {reason}");
        } else {
            info!(name: "tls.client.refused", reason, subject, serial, issuer, names, address = %address, error = %detail, "client refused: {reason}");
        }
    }
}

/// Lets a refused client read the alert: closing with unread bytes would reset the connection and lose it.
async fn linger(mut tcp: TcpStream) {
    let _ = tcp.shutdown().await;
    let mut rest = [0; 1024];
    let drained = async {
        // A few kilobytes of early requests, not a stream.
        for _ in 0..16 {
            if !matches!(tcp.read(&mut rest).await, Ok(read) if read > 0) {
                return;
            }
        }
    };
    let _ = timeout(LINGER, drained).await;
}
