//! Whether it can be listened at the addresses, or who does so already.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::report::Report;
use crate::{config::Config, pki};

/// How long whoever listens there may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// No answer of a `/livez` is longer, in bytes.
const LONGEST: u64 = 4096;

const LISTEN: &str = "address.listen";
const ADMIN: &str = "address.admin";

/// `leaf` is the server's certificate, by which a server that runs already is recognized.
pub(super) async fn check(report: &mut Report, config: &Config, leaf: Option<&[u8]>) {
    for (check, flag, address) in [
        (LISTEN, "--listen", config.listen),
        (ADMIN, "--admin-listen", config.admin_listen),
    ] {
        let Err(error) = try_bind(address) else {
            report.ok(check, format!("{address} is free"));
            continue;
        };
        if error.kind() != ErrorKind::AddrInUse {
            let fix = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "take a port from 1024 up, or give the program CAP_NET_BIND_SERVICE"
                }
                ErrorKind::AddrNotAvailable => "take an address of this machine, or 0.0.0.0",
                _ => "take another address",
            };
            let found = format!("it can't be listened at {address} ({error})");
            report.fail(check, found, format!("{fix} ({flag})"));
            continue;
        }
        let known = if check == LISTEN {
            presents(address, leaf).await
        } else {
            is_admin(address).await
        };
        if known {
            report.ok(
                check,
                format!("{address} is served by a headcount that runs already"),
            );
        } else {
            report.fail(
                check,
                format!("{address} is taken by another program, or by a headcount with another certificate"),
                format!("end that program, or take another address ({flag})"),
            );
        }
    }
}

/// Takes the address without listening at it, so that nobody's connection ends here.
fn try_bind(address: SocketAddr) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // As the server does: connections of an earlier one that linger are no hindrance.
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// Where something that listens at all addresses can be reached.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

async fn presents(address: SocketAddr, leaf: Option<&[u8]>) -> bool {
    let target = reachable(address).to_string();
    let presented = tokio::task::spawn_blocking(move || pki::presented_by(&target));
    let Ok(Ok(Ok(presented))) = timeout(ANSWER, presented).await else {
        return false;
    };
    let first = presented.chain.first().map(|der| der.as_ref());
    first.is_some() && first == leaf
}

async fn is_admin(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(reachable(address)).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = timeout(ANSWER, ask).await;
    let own = |answer: Vec<u8>| String::from_utf8_lossy(&answer).contains("headcount_");
    answer.is_ok_and(|answer| answer.is_ok_and(own))
}
