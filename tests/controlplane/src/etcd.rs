//! etcd, and its history.

use std::path::Path;
use std::time::Duration;

use http::uri::InvalidUri;
use kube::{Client, Config};
use serde_json::json;

use crate::process::Process;
use crate::request::post;
use crate::{Error, port};

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Room for 100,000 Deployments and their history.
const QUOTA_BYTES: u64 = 8 << 30;

/// A running etcd of one member that keeps nothing through a power cut.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Etcd {
    pub(crate) async fn start(binaries: &Path, folder: &Path) -> Result<Self, Error> {
        let reserve = || port::Reserved::new().map_err(Error::io("find a free port for etcd"));
        let (client, peer) = (reserve()?, reserve()?);
        let url = format!("http://127.0.0.1:{}", client.port());
        let peer_url = format!("http://127.0.0.1:{}", peer.port());
        let arguments = [
            "--name=etcd".to_owned(),
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=etcd={peer_url}"),
            format!("--quota-backend-bytes={QUOTA_BYTES}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        client.release();
        peer.release();
        let log = folder.join("logs/etcd.log");
        let mut process = Process::start("etcd", &binaries.join("etcd"), &arguments, log)?;
        let address = url.trim_start_matches("http://").to_owned();
        process
            .ready(READY_DEADLINE, async || {
                tokio::net::TcpStream::connect(&address).await.is_ok()
            })
            .await?;
        Ok(Self { process, url })
    }

    /// Forgets every revision but the newest of each key, as of now.
    pub(crate) async fn compact(url: &str) -> Result<(), Error> {
        let uri = url
            .parse()
            .map_err(Error::request::<InvalidUri>("read etcd's address"))?;
        let client = Client::try_from(Config::new(uri)).map_err(Error::request("talk to etcd"))?;
        // Any key will do: every answer's header names the revision.
        let answer = post(&client, "/v3/kv/range", &json!({ "key": "AA==" })).await?;
        let compaction = json!({ "revision": answer["header"]["revision"], "physical": true });
        post(&client, "/v3/kv/compaction", &compaction).await?;
        Ok(())
    }
}
