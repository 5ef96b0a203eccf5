//! Requests on one open connection, over either protocol.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;

use super::Served;

pub(super) type End = tokio::task::JoinHandle<hyper::Result<()>>;

/// A client that sends requests on one open connection.
pub(super) enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    pub(super) async fn connect(
        served: &Served,
        client: &ClientConfig,
        protocol: &str,
    ) -> (Self, End) {
        let mut client = client.clone();
        client.alpn_protocols = vec![protocol.into()];
        let io = TokioIo::new(served.connect(&client).await);
        if protocol == "h2" {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            (Self::Http2(sender), tokio::spawn(connection))
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            (Self::Http1(sender), tokio::spawn(connection))
        }
    }

    pub(super) async fn get(&mut self) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::get("https://127.0.0.1/api/v1/health")
            .body(Empty::new())
            .unwrap();
        match self {
            Self::Http1(sender) => {
                request
                    .headers_mut()
                    .insert("host", "127.0.0.1".parse().unwrap());
                *request.uri_mut() = "/api/v1/health".parse().unwrap();
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// The body of an answer.
pub(super) async fn sentence(response: Response<Incoming>) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}
