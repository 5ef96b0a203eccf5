//! One address before several servers, as a Service is: new connections go to one that is ready, open ones stay where they are.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::program::ready;

/// How often servers are asked whether they are ready.
const PROBE: Duration = Duration::from_millis(100);

/// Passes connections on to servers that are ready.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    servers: Arc<Mutex<Vec<Server>>>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug, Clone, Copy)]
struct Server {
    address: SocketAddr,
    admin: SocketAddr,
    ready: bool,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Balancer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let servers = Arc::new(Mutex::new(Vec::new()));
        let tasks = [
            tokio::spawn(accept(listener, Arc::clone(&servers))),
            tokio::spawn(probe(Arc::clone(&servers))),
        ];
        Self {
            address,
            servers,
            tasks,
        }
    }

    /// One more server, by its two addresses.
    pub(crate) fn add(&self, address: SocketAddr, admin: SocketAddr) {
        self.servers.lock().unwrap().push(Server {
            address,
            admin,
            ready: false,
        });
    }

    /// How many servers are ready.
    pub(crate) fn ready(&self) -> usize {
        let servers = self.servers.lock().unwrap();
        servers.iter().filter(|server| server.ready).count()
    }
}

async fn accept(listener: TcpListener, servers: Arc<Mutex<Vec<Server>>>) {
    for turn in 0.. {
        let (mut client, _) = listener.accept().await.unwrap();
        let ready: Vec<_> = {
            let servers = servers.lock().unwrap();
            let ready = servers.iter().filter(|server| server.ready);
            ready.map(|server| server.address).collect()
        };
        if ready.is_empty() {
            continue;
        }
        let address = ready[turn % ready.len()];
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(address).await {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

async fn probe(servers: Arc<Mutex<Vec<Server>>>) {
    loop {
        let known: Vec<Server> = servers.lock().unwrap().clone();
        for server in known {
            let ready = ready(server.admin).await;
            let mut servers = servers.lock().unwrap();
            let same = servers.iter_mut().find(|s| s.admin == server.admin);
            same.unwrap().ready = ready;
        }
        sleep(PROBE).await;
    }
}
