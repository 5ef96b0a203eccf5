//! Answers whose bodies a fault breaks.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;
use http_body_util::BodyExt as _;

use super::Exchange;
use crate::body::{Body, broken};
use crate::faults::{Call, Fault};
use crate::list::BAD_JSON;
use crate::negotiate::Encoding;
use crate::{list, watch, wire};

impl Exchange {
    /// Breaks the body of an answer.
    pub(super) async fn spoil(&self, response: Response<Body>, fault: &Fault) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let whole = |bytes: Bytes| Response::new(Body::full(bytes));
        let list = matches!(self.call, Call::List { .. } | Call::Probe);
        let mut spoilt = match fault {
            Fault::Garbage => whole(watch::GARBAGE.into()),
            Fault::Endless if list && self.encoding == Encoding::Protobuf => {
                let (head, items) = list::endless(&self.shared);
                Response::new(endless(head, items))
            }
            Fault::Endless => {
                Response::new(endless(b"{\"kind\":\"".to_vec(), vec![b'a'; 64 * 1024]))
            }
            Fault::WrongKind => whole(
                watch::wrong_kind(
                    self.encoding,
                    if list { "ConfigMapList" } else { "ConfigMap" },
                )
                .into(),
            ),
            Fault::BadObject if !list => whole(match self.encoding {
                Encoding::Json => BAD_JSON.into(),
                Encoding::Protobuf => {
                    wire::envelope("apps/v1", "Deployment", wire::BAD_DEPLOYMENT).into()
                }
            }),
            Fault::Truncate | Fault::Break => {
                let bytes = body
                    .collect()
                    .await
                    .map(|body| body.to_bytes())
                    .unwrap_or_default();
                let half = futures_util::stream::iter([Ok(bytes.slice(..bytes.len() / 2))]);
                if *fault == Fault::Break {
                    Response::new(Body::stream(
                        half.chain(futures_util::stream::once(async { Err(broken().await) })),
                    ))
                } else {
                    Response::new(Body::stream(half))
                }
            }
            _ => return Response::from_parts(parts, body),
        };
        *spoilt.status_mut() = parts.status;
        *spoilt.headers_mut() = parts.headers;
        spoilt
    }
}

/// A beginning, and then the same for ever.
fn endless(head: Vec<u8>, again: Vec<u8>) -> Body {
    let again = Bytes::from(again);
    let more = futures_util::stream::repeat(again).then(async |piece| {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        Ok(piece)
    });
    let head = futures_util::stream::iter([Ok(head.into())]);
    Body::stream(head.chain(more))
}
