//! On a port, with clients that speak HTTP.

use std::time::Duration;

use simkube::{Cluster, Fault, On, Rule};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::{ALL, shop};

/// Serves a cluster on a free port; dropping the sender stops it.
pub(crate) async fn served(cluster: &Cluster) -> (std::net::SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let cluster = cluster.clone();
    tokio::spawn(async move {
        let shutdown = async {
            let _ = stopped.await;
        };
        cluster.serve(listener, shutdown).await;
    });
    (address, stop)
}

async fn exchange(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: simkube\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_list_is_chunked_and_a_watch_flows() {
    let cluster = shop();
    let (address, _stop) = served(&cluster).await;
    let list = exchange(address, ALL).await;
    assert!(
        list.starts_with("HTTP/1.1 200 OK\r\n") && list.contains("transfer-encoding: chunked"),
        "{list}"
    );
    let uri = format!("{ALL}?watch=true&timeoutSeconds=1");
    let watch = exchange(address, &uri);
    let change = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.scale("shop", "cart", 77);
    };
    let (watch, ()) = tokio::join!(watch, change);
    assert!(
        watch.contains("\"type\":\"MODIFIED\"") && watch.contains("\"replicas\":77"),
        "{watch}"
    );
}

#[tokio::test]
async fn a_refusal_closes_the_connection_and_a_break_resets_it() {
    let cluster = shop();
    let (address, _stop) = served(&cluster).await;
    cluster
        .faults()
        .add(Rule::new(On::List, Fault::Refuse).times(1));
    assert_eq!(exchange(address, ALL).await, "");
    cluster
        .faults()
        .add(Rule::new(On::List, Fault::Break).times(1));
    let broken = exchange(address, ALL).await;
    assert!(
        broken.starts_with("HTTP/1.1 200 OK") && !broken.ends_with("0\r\n\r\n"),
        "{broken}"
    );
    assert!(exchange(address, ALL).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn shutting_down_cuts_what_is_open() {
    let cluster = shop();
    let (address, stop) = served(&cluster).await;
    let watch = tokio::spawn(exchange(address, "/apis/apps/v1/deployments?watch=true"));
    while cluster.counts().open_watches == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stop);
    tokio::time::timeout(Duration::from_secs(5), watch)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(cluster.counts().open_watches, 0);
}
