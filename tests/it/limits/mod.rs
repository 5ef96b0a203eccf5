//! Limits that a caller can reach: what it is told, exactly when to come back, and that others don't notice.

mod budget;
mod fairness;
mod rates;
mod served;
mod turns;

use headcount::limits::Limits;
use http::Method;
use simkube::{Cluster, NewDeployment, Options};

use crate::support::{Answer, InProcess};

const SHOP: &str = "/namespaces/web/deployments/shop/replicas";
const JSON: (&str, &str) = ("content-type", "application/json");

/// `limits` as the configuration file has them.
fn limits(yaml: &str) -> Limits {
    serde_saphyr::from_str(yaml).unwrap()
}

/// A server with these limits, and `web/shop` at 3.
async fn limited(yaml: &str) -> InProcess {
    let cluster = Cluster::new(Options::default());
    let shop = NewDeployment::new("web", "shop").replicas(3);
    cluster.create(shop.image("shop:1")).unwrap();
    let mut server = InProcess::synced(&cluster).await;
    server.limited(&limits(yaml));
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    server
}

async fn get(server: &InProcess, path: &str) -> Answer {
    server.send(Method::GET, path, &[], "").await
}

/// Status and `Retry-After`.
fn told(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.header("retry-after"))
}
