//! Services, as kube-proxy makes them reachable: a connection to a Service's address goes to one of its ready endpoints.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Service, ServicePort},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ListParams};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// How often the cluster is asked for Services and their endpoints; kube-proxy takes longer to write its rules.
const PERIOD: Duration = Duration::from_millis(100);

/// Where connections to one Service's port go.
type Targets = Arc<Mutex<Vec<SocketAddr>>>;

/// All Services of the cluster, until this is dropped.
pub(crate) struct Services {
    _following: JoinSet<()>,
}

impl Services {
    /// Follows the cluster, whose API server at this address is the Service `kubernetes`.
    pub(crate) fn start(client: Client, api_server: SocketAddr) -> Self {
        let mut following = JoinSet::new();
        following.spawn(follow(client, api_server));
        Self {
            _following: following,
        }
    }
}

async fn follow(client: Client, api_server: SocketAddr) {
    let mut listening = JoinSet::new();
    let mut known: BTreeMap<SocketAddr, Targets> = BTreeMap::new();
    loop {
        for (service, port, address) in ports(&client).await {
            let targets = known.entry(address).or_insert_with(|| {
                let targets = Targets::default();
                listening.spawn(listen(address, Arc::clone(&targets)));
                targets
            });
            let kubernetes = service.metadata.name.as_deref() == Some("kubernetes");
            let now = if kubernetes {
                Some(vec![api_server])
            } else {
                ready(&client, &service, &port).await
            };
            if let Some(now) = now {
                *targets.lock().unwrap() = now;
            }
        }
        sleep(PERIOD).await;
    }
}

/// Every port of every Service that has an address.
async fn ports(client: &Client) -> Vec<(Service, ServicePort, SocketAddr)> {
    // The API server may be away for a moment.
    let Ok(services) = Api::<Service>::all(client.clone())
        .list(&ListParams::default())
        .await
    else {
        return vec![];
    };
    let mut all = Vec::new();
    for service in services {
        let spec = service.spec.clone().unwrap();
        let Some(ip) = spec.cluster_ip.and_then(|ip| ip.parse::<Ipv4Addr>().ok()) else {
            continue;
        };
        for port in spec.ports.into_iter().flatten() {
            let address = (ip, u16::try_from(port.port).unwrap()).into();
            all.push((service.clone(), port, address));
        }
    }
    all
}

/// The endpoints that the cluster calls ready.
async fn ready(client: &Client, service: &Service, port: &ServicePort) -> Option<Vec<SocketAddr>> {
    let (name, namespace) = (
        service.metadata.name.as_ref()?,
        service.metadata.namespace.as_ref()?,
    );
    let of = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace)
        .list(&of)
        .await
        .ok()?;
    let mut addresses = Vec::new();
    for slice in slices {
        let mut ports = slice.ports.iter().flatten();
        let Some(number) = ports.find(|p| p.name == port.name).and_then(|p| p.port) else {
            continue;
        };
        for endpoint in slice.endpoints {
            if endpoint
                .conditions
                .is_some_and(|conditions| conditions.ready == Some(true))
            {
                let ip: Ipv4Addr = endpoint.addresses[0].parse().unwrap();
                addresses.push((ip, u16::try_from(number).unwrap()).into());
            }
        }
    }
    Some(addresses)
}

async fn listen(address: SocketAddr, targets: Targets) {
    let ip = format!("{}/32", address.ip());
    // Another port of the same Service may have it already.
    let _ = Command::new("ip")
        .args(["address", "add", &ip, "dev", "lo"])
        .output();
    let listener = TcpListener::bind(address)
        .await
        .unwrap_or_else(|error| panic!("{address}: {error}"));
    let mut open = JoinSet::new();
    for turn in 0.. {
        let (mut client, _) = listener.accept().await.unwrap();
        let targets = targets.lock().unwrap().clone();
        let Some(target) = targets.get(turn % targets.len().max(1)).copied() else {
            continue;
        };
        open.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(target).await {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while open.try_join_next().is_some() {}
    }
}
