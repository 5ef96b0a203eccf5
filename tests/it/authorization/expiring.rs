//! Watches and reads that wait end with the certificate of their caller.

use std::time::{Duration, SystemTime};

use headcount::pki::Leaf;
use http::Method;

use super::Governed;
use crate::support::{Client, Events, SimCluster};

const WATCH: &str = "/deployments?watch";
const REPLICAS: &str = "/namespaces/web/deployments/shop/replicas";
const ALL: &str = "authorization:\n  mode: policy\n  rules:\n    - {name: all, subjects: [alice, bob], verbs: ['*']}\n";

async fn governed() -> Governed {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    Governed::by(ALL, sim).await
}

fn expiring(governed: &Governed, name: &str) -> (Client, SystemTime) {
    let end = SystemTime::now() + Duration::from_secs(3);
    (
        governed.client_of(&Leaf::client(name).valid_until(end)),
        end,
    )
}

#[tokio::test]
async fn a_watch_ends_when_its_callers_certificate_expires_and_others_go_on() {
    let governed = governed().await;
    let mut all = Events::open(&governed.client("bob"), WATCH, &[]).await;
    assert_eq!(all.told().await, "snapshot of 1");
    let (alice, end) = expiring(&governed, "alice");
    let mut watch = Events::open(&alice, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
    assert_eq!(watch.told().await, "end");
    // A certificate says its end in whole seconds.
    let second = Duration::from_secs(1);
    assert!(SystemTime::now() + second >= end, "not before it expires");
    assert!(
        SystemTime::now() < end + 3 * second,
        "soon after it expired"
    );
    governed.sim.cluster.scale("web", "shop", 7);
    assert_eq!(all.told().await, "changed web/shop=7");
}

#[tokio::test]
async fn a_read_that_waits_is_401_when_its_callers_certificate_expires() {
    let governed = governed().await;
    let (alice, end) = expiring(&governed, "alice");
    let tag = alice.get(REPLICAS).await.header("etag").to_owned();
    let headers = [("if-none-match", &*tag), ("prefer", "wait=30")];
    let request = alice.request(Method::GET, REPLICAS, &headers, "");
    let answer = alice.try_send(request).await.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(SystemTime::now() < end + Duration::from_secs(3));
}

#[tokio::test]
async fn what_waits_ends_when_its_caller_is_put_on_the_deny_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deny.yaml");
    let denying = |name: &str| {
        let list = format!("apiVersion: headcount/v1alpha1\nkind: DenyList\nnames: [{name}]\n");
        std::fs::write(&path, list).unwrap();
    };
    denying("mallory");
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let settings = format!("denyList: {}\n{ALL}", path.display());
    let governed = Governed::by(&settings, sim).await;
    let (alice, bob) = (governed.client("alice"), governed.client("bob"));
    let mut watch = Events::open(&alice, WATCH, &[]).await;
    let mut all = Events::open(&bob, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
    assert_eq!(all.told().await, "snapshot of 1");
    let tag = alice.get(REPLICAS).await.header("etag").to_owned();
    let headers = [("if-none-match", &*tag), ("prefer", "wait=30")];
    let request = alice.request(Method::GET, REPLICAS, &headers, "");
    let denied = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        denying("alice");
        assert_eq!(watch.told().await, "end");
    };
    let (answer, ()) = tokio::join!(alice.try_send(request), denied);
    let answer = answer.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    governed.sim.cluster.scale("web", "shop", 7);
    assert_eq!(all.told().await, "changed web/shop=7");
}
