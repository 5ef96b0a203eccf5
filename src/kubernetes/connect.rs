//! The way to the cluster: kubeconfig or the Pod's own account.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use kube::{
    Config,
    client::{Body, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::net::TcpStream;
use tower::{
    BoxError, Layer as _, Service, ServiceExt as _,
    util::{BoxCloneSyncService, option_layer},
};

use super::{buffered::BufferedConnector, credentials::Authenticated, pool::Pool};

/// How long a TCP and TLS connection to the API server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no way to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named.
    #[error("failed to use the kubeconfig {0:?}: {1}")]
    Kubeconfig(PathBuf, kube::config::KubeconfigError),
    /// The context that was named, in the usual kubeconfig.
    #[error("failed to use the context {0:?} of the usual kubeconfig: {1}")]
    Context(String, kube::config::KubeconfigError),
    /// Neither a kubeconfig nor a Pod's account.
    #[error(
        "failed to find a cluster: give --kubeconfig, or run where there is a usual kubeconfig or inside a Pod ({0})"
    )]
    NoCluster(String),
    /// Credentials that can't be used.
    #[error("failed to set up the connection to the Kubernetes API: {0}")]
    Client(kube::Error),
}

/// How the cluster is reached: where that is written, and what was written there.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    read: Config,
}

impl ClusterConfig {
    /// The API server's address.
    pub fn url(&self) -> &Uri {
        &self.read.cluster_url
    }

    /// Whether a proxy leads to it.
    pub(crate) fn has_proxy(&self) -> bool {
        self.read.proxy_url.is_some()
    }

    /// The namespace of the account or of the kubeconfig's context.
    pub(crate) fn namespace(&self) -> &str {
        &self.read.default_namespace
    }

    /// The same with its files as they are now.
    ///
    /// # Errors
    ///
    /// As those of [`connection`].
    pub(super) async fn read_again(&self) -> Result<Self, ConnectError> {
        connection(self.kubeconfig.as_deref(), self.context.as_deref()).await
    }

    /// Sends requests with what was read. May run a credential plugin, and wait for it.
    pub(super) fn sender(&self) -> Result<Sender, ConnectError> {
        let config = &self.read;
        if config.proxy_url.is_some() {
            let client = kube::Client::try_from(config.clone()).map_err(ConnectError::Client)?;
            let service = tower::service_fn(move |request: Request<Body>| {
                let client = client.clone();
                async move { client.send(request).await.map(|r| r.map(Either::Right)) }
            });
            return Ok(Sender::new(service.map_err(BoxError::from)));
        }
        self.sender_over(HttpConnector::new())
    }

    /// The same with a resolver of names, which is asked for every new connection.
    fn sender_over<R>(&self, mut tcp: HttpConnector<R>) -> Result<Sender, ConnectError>
    where
        HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let config = &self.read;
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(config.connect_timeout);
        let connector = config
            .rustls_https_connector_with_connector(BufferedConnector(tcp))
            .map_err(ConnectError::Client)?;
        let client = Pool::new(connector).map_err(BoxError::from);
        // As kube's own stack, without its spans and its timers for every read: the calls have deadlines.
        let headers = config.extra_headers_layer().map_err(ConnectError::Client)?;
        let auth = config.auth_layer().map_err(ConnectError::Client)?;
        let service = option_layer(auth).layer(headers.layer(client));
        let service = config.base_uri_layer().layer(service);
        Ok(Sender::new(service.map_response(|r| r.map(Either::Left))))
    }
}

/// Sends requests to the cluster over connections that it keeps.
pub(super) type Sender =
    BoxCloneSyncService<Request<Body>, Response<Either<Incoming, Body>>, BoxError>;

/// How the cluster is reached; nothing is sent to it yet.
///
/// # Errors
///
/// When the kubeconfig is missing or unusable, or there is neither one nor a Pod's account.
pub async fn connection(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<ClusterConfig, ConnectError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let mut read = match (kubeconfig, context) {
        (Some(path), _) => {
            let failed = |error| ConnectError::Kubeconfig(path.to_owned(), error);
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(failed)?
        }
        (None, Some(context)) => Config::from_kubeconfig(&options)
            .await
            .map_err(|e| ConnectError::Context(context.to_owned(), e))?,
        (None, None) => Config::infer()
            .await
            .map_err(|e| ConnectError::NoCluster(e.to_string()))?,
    };
    read.connect_timeout = Some(CONNECT);
    // Silent retries of up to minutes would hide what this server has to tell; it has its own.
    read.default_retry = false;
    Ok(ClusterConfig {
        kubeconfig: kubeconfig.map(Path::to_owned),
        context: context.map(str::to_owned),
        read,
    })
}

/// A client of the cluster, for the runtime that this is called on.
///
/// # Errors
///
/// When the credentials can't be used.
pub fn client(cluster: &ClusterConfig) -> Result<kube::Client, ConnectError> {
    let sender = cluster.sender()?;
    let namespace = cluster.read.default_namespace.clone();
    Ok(kube::Client::new(
        Authenticated::new(cluster.clone(), sender),
        namespace,
    ))
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        net::{IpAddr, Ipv4Addr, SocketAddr},
        sync::{Arc, Mutex},
    };

    use hyper_util::client::legacy::connect::dns::Name;
    use simkube::{Cluster, Options};
    use tokio::{net::TcpListener, time::timeout};
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_is_looked_up_again() {
        let (first, second) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
        let serve = async |address: SocketAddr| {
            let listener = TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            let cluster = Cluster::new(Options::default());
            let served = cluster.clone();
            let serving = tokio::spawn(async move {
                served.serve(listener, std::future::pending()).await;
            });
            (cluster, address.port(), serving)
        };
        let (before, port, serving) = serve((first, 0).into()).await;
        let (after, ..) = serve((second, port).into()).await;
        let leads_to: Arc<Mutex<IpAddr>> = Arc::new(Mutex::new(first.into()));
        let resolver = {
            let leads_to = Arc::clone(&leads_to);
            service_fn(move |_: Name| {
                let found = SocketAddr::new(*leads_to.lock().unwrap(), 0);
                ready(Ok::<_, std::io::Error>(std::iter::once(found)))
            })
        };
        let url = format!("http://kubernetes.invalid:{port}").parse().unwrap();
        let cluster = ClusterConfig {
            kubeconfig: None,
            context: None,
            read: Config::new(url),
        };
        let sender = cluster
            .sender_over(HttpConnector::new_with_resolver(resolver))
            .unwrap();
        let answers = async || {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = "/apis/apps/v1/deployments?limit=1".parse().unwrap();
            let answer = sender.clone().oneshot(request);
            timeout(CONNECT, answer)
                .await
                .unwrap()
                .map(|r| r.status().as_u16())
        };
        assert_eq!(answers().await.unwrap(), 200);
        assert_eq!((before.counts().probes, after.counts().probes), (1, 0));
        *leads_to.lock().unwrap() = second.into();
        serving.abort();
        // The connection that was kept may first have to be found broken.
        let mut tries = 0;
        while answers().await.is_err() {
            tries += 1;
            assert!(tries < 3, "the old address is held on to");
        }
        assert_eq!(after.counts().probes, 1);
    }
}
