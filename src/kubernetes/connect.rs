//! The way to the cluster: kubeconfig or the Pod's own account.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Config,
    client::ConfigExt as _,
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{BoxError, Layer as _, ServiceExt as _, util::option_layer};

use super::buffered::BufferedConnector;

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

/// How the cluster is reached; nothing is sent to it yet.
///
/// # Errors
///
/// When the kubeconfig is missing or unusable, or there is neither one nor a Pod's account.
pub async fn connection(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let mut config = match (kubeconfig, context) {
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
    config.connect_timeout = Some(CONNECT);
    // Silent retries of up to minutes would hide what this server has to tell; it has its own.
    config.default_retry = false;
    Ok(config)
}

/// A client of the cluster, for the runtime that this is called on.
///
/// # Errors
///
/// When the credentials can't be used.
pub fn client(config: &Config) -> Result<kube::Client, ConnectError> {
    if config.proxy_url.is_some() {
        return kube::Client::try_from(config.clone()).map_err(ConnectError::Client);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    let connector = config
        .rustls_https_connector_with_connector(BufferedConnector(tcp))
        .map_err(ConnectError::Client)?;
    let client = Client::builder(TokioExecutor::new()).build::<_, kube::client::Body>(connector);
    let client = client.map_err(BoxError::from);
    // As kube's own stack, without its spans and its timers for every read: the calls have deadlines.
    let headers = config.extra_headers_layer().map_err(ConnectError::Client)?;
    let auth = config.auth_layer().map_err(ConnectError::Client)?;
    let service = option_layer(auth).layer(headers.layer(client));
    let service = config.base_uri_layer().layer(service);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}
