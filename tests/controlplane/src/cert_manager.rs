//! cert-manager's own controllers and CRDs: certificates, CA issuers and self-signed ones. Neither its webhook, which judges what
//! people write beyond the CRDs' schemas and has nothing to convert, nor its CA injector, which serves the webhook.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::apiserver::{ApiServer, Setup};
use crate::certificates::Credentials;
use crate::process::Process;

const NAME: &str = "cert-manager";
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// What the program writes once it knows all that is in the cluster.
const READY: &str = "cert-manager: ready";

/// The file of the CRDs.
pub(crate) fn crds(setup: &Setup) -> PathBuf {
    setup.binaries.join("cert-manager-crds.yaml")
}

/// Starts the controllers, whose CRDs the API server knows, and waits until they are at work.
pub(crate) async fn start(setup: &Setup, apiserver: &ApiServer) -> Result<Process, Error> {
    let kubeconfig = setup.folder.join(format!("{NAME}.kubeconfig"));
    let credentials = Credentials::Certificate {
        user: NAME,
        group: Some("system:masters"),
    };
    setup
        .authority
        .write_kubeconfig(&kubeconfig, &apiserver.url(), &credentials)?;
    let log = setup.folder.join(format!("logs/{NAME}.log"));
    // A folder that is kept has the log of an earlier start too.
    let times = || std::fs::read_to_string(&log).map_or(0, |text| text.matches(READY).count());
    let before = times();
    let arguments = [format!("--kubeconfig={}", kubeconfig.display())];
    let mut process = Process::start(NAME, &setup.binaries.join(NAME), &arguments, log.clone())?;
    process
        .ready(READY_DEADLINE, async || times() > before)
        .await?;
    Ok(process)
}
