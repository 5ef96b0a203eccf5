//! Forwarding by OTLP: to a receiver that fails at first, nothing is lost.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{PATIENCE, Volumes, write};
use crate::support::{SimCluster, eventually};

#[tokio::test]
async fn by_otlp_every_record_arrives_though_the_receiver_fails_at_first() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let volumes = Volumes::new("text");
    let serving = volumes.serve(&cluster).await;
    write(&serving, 50, &[]).await;
    serving.terminated().await;

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let bodies = Arc::new(Mutex::new(Vec::<Bytes>::new()));
    let refused = Arc::new(AtomicU32::new(0));
    let receive = {
        let (bodies, refused) = (Arc::clone(&bodies), Arc::clone(&refused));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (bodies, refused) = (Arc::clone(&bodies), Arc::clone(&refused));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (bodies, refused) = (Arc::clone(&bodies), Arc::clone(&refused));
                    async move {
                        assert_eq!(request.uri().path(), "/v1/logs");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let mut response = Response::new(Full::<Bytes>::default());
                        if refused.fetch_add(1, Ordering::Relaxed) < 3 {
                            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        } else {
                            bodies.lock().unwrap().push(body);
                        }
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        })
    };
    let to = [
        ("COLLECTOR_LOG_EXPORTER", "otlp_http"),
        ("COLLECTOR_AUDIT_EXPORTER", "otlp_http"),
        ("COLLECTOR_OTLP_HTTP", &*url),
    ];
    let _collector = volumes.collect(&to).await;
    // Protobuf has texts as they are, behind compression.
    let inflated = |body: &Bytes| {
        let mut text = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&body[..]);
        std::io::Read::read_to_end(&mut decoder, &mut text).unwrap();
        text
    };
    let wanted: Vec<_> = volumes
        .expected()
        .into_iter()
        .chain(volumes.written("audit"))
        .collect();
    eventually(PATIENCE, "every record", async || {
        let all: Vec<u8> = bodies.lock().unwrap().iter().flat_map(inflated).collect();
        let all = String::from_utf8_lossy(&all).into_owned();
        wanted.iter().all(|words| all.contains(words))
    })
    .await;
    assert!(refused.load(Ordering::Relaxed) > 3);
    receive.abort();
}
