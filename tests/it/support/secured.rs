//! The simulated API behind TLS that asks for a token or a certificate, all of which can be changed while it serves.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use headcount::pki::{self, DemoFiles};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use simkube::Cluster;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// What is asked of clients from now on, and what they are shown.
struct Demands {
    tls: TlsAcceptor,
    token: Option<String>,
}

/// Serves until it is dropped.
pub(crate) struct SecuredCluster {
    pub(crate) cluster: Cluster,
    address: SocketAddr,
    demands: Arc<Mutex<Demands>>,
    /// Every connection that is open when it moves is cut.
    cuts: watch::Sender<()>,
    serving: JoinHandle<()>,
    folder: TempDir,
}

impl Drop for SecuredCluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl SecuredCluster {
    /// Takes whoever has a certificate of its first authority, or, with a token, whoever has that.
    pub(crate) async fn start(cluster: Cluster, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::write_demo(&folder.path().join("first")).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let demands = Arc::new(Mutex::new(Demands {
            tls: acceptor(&files, token.is_none()),
            token: token.map(str::to_owned),
        }));
        let cuts = watch::Sender::new(());
        let serving = {
            let (cluster, demands, cuts) = (cluster.clone(), Arc::clone(&demands), cuts.clone());
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let serve = serve(tcp, cluster.clone(), Arc::clone(&demands));
                    let mut cut = cuts.subscribe();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = serve => {}
                            _ = cut.changed() => {}
                        }
                    });
                }
            })
        };
        let this = Self {
            cluster,
            address,
            demands,
            cuts,
            serving,
            folder,
        };
        this.give(&files, token);
        this
    }

    /// From now on another token is asked for.
    pub(crate) fn demand_token(&self, token: &str) {
        self.demands.lock().unwrap().token = Some(token.to_owned());
    }

    /// Another authority for servers and clients from now on; open connections are cut. Its files are not given out yet.
    pub(crate) fn replace_authority(&self) -> DemoFiles {
        let files = pki::write_demo(&self.folder.path().join("second")).unwrap();
        self.demands.lock().unwrap().tls = acceptor(&files, true);
        self.cuts.send_replace(());
        files
    }

    /// Writes what its client needs to where the kubeconfig says.
    pub(crate) fn give(&self, files: &DemoFiles, token: Option<&str>) {
        fs::copy(&files.ca, self.path("ca.crt")).unwrap();
        let user = match token {
            Some(token) => {
                fs::write(self.path("token"), token).unwrap();
                serde_json::json!({ "tokenFile": self.path("token") })
            }
            None => {
                fs::copy(&files.client.certificate, self.path("client.crt")).unwrap();
                fs::copy(&files.client.key, self.path("client.key")).unwrap();
                serde_json::json!({
                    "client-certificate": self.path("client.crt"), "client-key": self.path("client.key")
                })
            }
        };
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.address), "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        fs::write(self.kubeconfig(), kubeconfig.to_string()).unwrap();
    }

    /// The path of its kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn acceptor(files: &DemoFiles, certificates: bool) -> TlsAcceptor {
    let read = |path: &Path| -> Vec<CertificateDer<'static>> {
        let all = CertificateDer::pem_file_iter(path).unwrap();
        all.collect::<Result<_, _>>().unwrap()
    };
    let builder = ServerConfig::builder();
    let builder = if certificates {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(read(&files.ca));
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(&files.server.key).unwrap();
    let config = builder.with_single_cert(read(&files.server.certificate), key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

async fn serve(tcp: TcpStream, cluster: Cluster, demands: Arc<Mutex<Demands>>) {
    let acceptor = demands.lock().unwrap().tls.clone();
    // A client that doesn't trust this server, or isn't trusted, is what tests are about.
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let answer = service_fn(move |request: Request<Incoming>| {
        let given = request.headers().get(header::AUTHORIZATION);
        let asked = demands.lock().unwrap().token.clone();
        let refused = asked.is_some_and(|token| {
            given.is_none_or(|given| given.as_bytes() != format!("Bearer {token}").as_bytes())
        });
        let api = cluster.service();
        async move {
            if refused {
                let mut response = Response::new(Either::Left(Full::from(
                    r#"{"kind":"Status","code":401,"message":"Unauthorized"}"#,
                )));
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                return Ok::<_, Infallible>(response);
            }
            let answer = api.oneshot(request).await;
            Ok(answer
                .unwrap_or_else(|e| panic!("{e}"))
                .map(|body| Either::Right(body.boxed_unsync())))
        }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}
