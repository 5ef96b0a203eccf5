//! A TCP proxy that breaks connections the way networks do.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What happens to the connections that are open.
#[derive(Debug, Clone, Copy)]
enum Order {
    Pass,
    /// Their bytes are swallowed in both directions; they stay open.
    Swallow,
    Cut,
}

/// Passes connections on until it is told otherwise.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    orders: Arc<watch::Sender<Order>>,
    closed: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// A proxy for `target` on a free port.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let orders = Arc::new(watch::Sender::new(Order::Pass));
        let closed = watch::Sender::new(false);
        let (given, shut) = (Arc::clone(&orders), closed.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*shut.borrow() {
                    tokio::spawn(pass(client, target, given.subscribe()));
                }
            }
        });
        Self {
            address,
            orders,
            closed,
            accepting,
        }
    }

    /// Leaves the open connections open and passes none of their bytes on; new ones work.
    pub(crate) fn swallow(&self) {
        self.orders.send_replace(Order::Swallow);
    }

    /// Closes the open connections; new ones work, unless it is closed.
    pub(crate) fn cut(&self) {
        self.orders.send_replace(Order::Cut);
    }

    /// Whether new connections are closed at once.
    pub(crate) fn close(&self, closed: bool) {
        self.closed.send_replace(closed);
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, mut orders: watch::Receiver<Order>) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        // The order at the start was for connections before this one.
        changed = orders.changed() => if changed.is_err() { return },
    }
    if matches!(*orders.borrow(), Order::Swallow) {
        // Held until the proxy is dropped.
        while orders.changed().await.is_ok() {}
    }
}
