//! The requests that are sent to the API server, each under a deadline, and how they fail.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout};

use super::{
    FieldOwner,
    circuit::{Away, Circuit},
    wire::{DecodeError, ListDecoder, ListMeta, PROTOBUF, PROTOBUF_STREAM, Status},
};
use crate::{
    store::{Deployment, LabelKeys, Snapshot},
    telemetry::metrics::Call,
};

/// Objects in one page: large enough that a sync isn't a chain of round trips, small enough to hold.
const PAGE: usize = 2000;
/// How long the API server may take until it answers, and between two pieces of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a whole page may take, however steadily it trickles in.
const WHOLE_PAGE: Duration = Duration::from_secs(60);
/// Answers that aren't pages or watches are small: a Scale, a Status, one Deployment (of which etcd takes 1.5 MiB).
const SMALL_BODY: usize = 4 << 20;

/// A request that didn't do what it was sent for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("failed to connect to the Kubernetes API: {0}")]
    Unreachable(String),
    #[error("the connection to the Kubernetes API broke: {0}")]
    Broken(String),
    #[error("the Kubernetes API didn't answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("something before the Kubernetes API answered {code} in its place: {words}")]
    Gateway { code: u16, words: String },
    #[error("the Kubernetes API answered {} {}: {}", .status.code, .status.reason, .status.message)]
    Status {
        status: Status,
        retry_after: Option<Duration>,
    },
    #[error(
        "the Kubernetes API's list is at version {found}, older than {known}, which was seen before"
    )]
    Stale { found: u64, known: u64 },
    #[error("the Kubernetes API answered what can't be read: {0}")]
    Unreadable(#[from] DecodeError),
}

impl CallError {
    /// How long the API server asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the API server itself said nothing.
    pub(super) fn unanswered(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Silent(_) | Self::Gateway { .. } => true,
            Self::Status { .. } | Self::Stale { .. } | Self::Unreadable(_) => false,
        }
    }

    /// What callers may be told: a refusal's own words name this server's account and stay in the log.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Status { status, .. } if matches!(status.code, 401 | 403) => format!(
                "the cluster refuses this server's own credentials ({} {})",
                status.code, status.reason
            ),
            _ => self.to_string(),
        }
    }

    /// The HTTP status, or that of an ERROR event; 0 when there was none.
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::Status { status, .. } => status.code,
            _ => 0,
        }
    }

    /// What metrics call it: the HTTP status, or in a word why there is none.
    fn label(&self) -> String {
        let word = match self {
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken",
            Self::Silent(_) => "silent",
            Self::Gateway { code, .. } => return code.to_string(),
            // Whatever stands in a body, there are only so many statuses.
            Self::Status { status, .. } if (100..1000).contains(&status.code) => {
                return status.code.to_string();
            }
            Self::Status { .. } | Self::Stale { .. } | Self::Unreadable(_) => "unreadable",
        };
        word.to_owned()
    }

    fn of_transport(error: kube::Error) -> Self {
        let mut connecting = false;
        let mut words = String::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = match &error {
            kube::Error::Service(inner) => Some(&**inner),
            other => Some(other),
        };
        // The innermost causes say why; the outer ones only that there was an error.
        while let Some(cause) = next {
            connecting |= cause
                .downcast_ref::<hyper_util::client::legacy::Error>()
                .is_some_and(|e| e.is_connect());
            words = cause.to_string();
            next = cause.source();
        }
        if connecting {
            Self::Unreachable(words)
        } else {
            Self::Broken(words)
        }
    }
}

/// Where every request goes.
#[derive(Clone)]
pub(super) struct ApiServer {
    client: kube::Client,
    circuit: Arc<Circuit>,
}

impl ApiServer {
    pub(super) fn new(client: kube::Client, circuit: &Arc<Circuit>) -> Self {
        Self {
            client,
            circuit: Arc::clone(circuit),
        }
    }

    /// Whether anything should be sent that somebody waits for.
    pub(super) fn admit(&self) -> Result<(), Away> {
        self.circuit.admit()
    }

    /// Sends a request; an answer that isn't a success is an error with the API server's own words. The circuit learns
    /// whether there was an answer.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Body>, CallError> {
        crate::telemetry::request::go_on(request.headers_mut());
        let start = Instant::now();
        let answer = self.counted(request, within).await;
        match &answer {
            Err(error) if error.unanswered() => self.circuit.unanswered(start, &error.told()),
            _ => self.circuit.answered(),
        }
        answer
    }

    /// Sends a request whose failure says nothing of anything else.
    pub(super) async fn counted(
        &self,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Body>, CallError> {
        let start = Instant::now();
        let call = Call::of(&request);
        let answer = exchange(&self.client, request, within).await;
        let code = match &answer {
            Ok(response) => response.status().as_str().to_owned(),
            Err(error) => error.label(),
        };
        self.circuit.calls().called(call, code, start.elapsed());
        answer
    }

    /// Sends what nobody waits for, and whose failure says nothing of anything else; only the answer's status is of interest.
    pub(super) async fn send_aside(
        &self,
        request: Request<Body>,
        within: Duration,
    ) -> Result<(), CallError> {
        if let Err(Away { why, .. }) = self.admit() {
            return Err(CallError::Unreachable(why));
        }
        let mut response = self.counted(request, within).await?;
        // Read, so that the connection can be used again.
        small_body(response.body_mut(), within).await.map(drop)
    }
}

/// A page of a list.
pub(super) struct Page {
    pub(super) metadata: ListMeta,
    pub(super) items: Vec<Deployment>,
    /// Why items were skipped.
    pub(super) undecodable: Vec<String>,
    /// Who set counts that are others now, by the versions of their Deployments.
    pub(super) owners: Vec<(u64, FieldOwner)>,
}

/// The calls on the Deployments of one scope.
#[derive(Clone)]
pub(super) struct Calls {
    api_server: ApiServer,
    collection: String,
    selector: Option<String>,
}

impl Calls {
    pub(super) fn new(
        api_server: ApiServer,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Self {
        let collection = match namespace {
            Some(namespace) => format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
            None => "/apis/apps/v1/deployments".into(),
        };
        let selector = selector.map(|s| {
            format!(
                "&labelSelector={}",
                utf8_percent_encode(s, NON_ALPHANUMERIC)
            )
        });
        Self {
            api_server,
            collection,
            selector,
        }
    }

    fn get(&self, query: &str, accept: &'static str) -> Request<Body> {
        let selector = self.selector.as_deref().unwrap_or_default();
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("{}?{query}{selector}", self.collection)
            .parse()
            .unwrap_or_default();
        request
            .headers_mut()
            .insert(header::ACCEPT, header::HeaderValue::from_static(accept));
        request
    }

    /// One page of a consistent list: the first, or the one that `token` continues with. Its Deployments have the labels of
    /// these keys.
    /// Of counts that aren't those of `known`, it tells who set them.
    pub(super) async fn page(
        &self,
        token: &str,
        labels: &LabelKeys,
        known: Option<&Snapshot>,
    ) -> Result<Page, CallError> {
        self.list(PAGE, token, labels, known).await
    }

    /// The version that the API server is at, by the smallest consistent list there is.
    pub(super) async fn version(&self) -> Result<ListMeta, CallError> {
        Ok(self
            .list(1, "", &LabelKeys::default(), None)
            .await?
            .metadata)
    }

    async fn list(
        &self,
        limit: usize,
        token: &str,
        labels: &LabelKeys,
        known: Option<&Snapshot>,
    ) -> Result<Page, CallError> {
        // Never resourceVersion=0: the limit would be ignored and the answer might be old.
        let mut query = format!("limit={limit}");
        if !token.is_empty() {
            query = format!(
                "{query}&continue={}",
                utf8_percent_encode(token, NON_ALPHANUMERIC)
            );
        }
        let page = async {
            let mut body = self.send(self.get(&query, PROTOBUF)).await?.into_body();
            let mut decoder = ListDecoder::new(labels).beside(known);
            while let Some(chunk) = next_chunk(&mut body, ANSWER).await? {
                decoder.push(&chunk)?;
            }
            let owners = decoder.take_owners();
            let (metadata, items, undecodable) = decoder.finish()?;
            Ok(Page {
                metadata,
                items,
                undecodable,
                owners,
            })
        };
        timeout(WHOLE_PAGE, page)
            .await
            .unwrap_or(Err(CallError::Silent(WHOLE_PAGE)))
    }

    /// Opens a watch from `version` on, which the API server ends by itself after `seconds`.
    pub(super) async fn watch(&self, version: u64, seconds: u64) -> Result<Body, CallError> {
        let query = format!(
            "watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}"
        );
        let sent = self.send(self.get(&query, PROTOBUF_STREAM));
        Ok(sent.await?.into_body())
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        self.api_server.send(request, ANSWER).await
    }
}

async fn exchange(
    client: &kube::Client,
    request: Request<Body>,
    within: Duration,
) -> Result<Response<Body>, CallError> {
    let sent = timeout(within, client.send(request))
        .await
        .map_err(|_| CallError::Silent(within))?;
    let mut response = sent.map_err(CallError::of_transport)?;
    if response.status().is_success() {
        return Ok(response);
    }
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let code = response.status();
    // Without its body, or if that trickles in, an error is still one: the code says most.
    let body = timeout(within, small_body(response.body_mut(), within)).await;
    let body = body.unwrap_or(Ok(Bytes::new())).unwrap_or_default();
    Err(refusal(code, &body, retry_after))
}

fn refusal(code: StatusCode, body: &Bytes, retry_after: Option<u64>) -> CallError {
    let status = Status::read(code.as_u16(), body);
    // The API server gives a reason with these; a proxy that doesn't reach it, or lost it, can't.
    if matches!(code.as_u16(), 502..=504) && status.reason.is_empty() {
        return CallError::Gateway {
            code: code.as_u16(),
            words: status.message,
        };
    }
    let in_header = retry_after.filter(|s| *s > 0).map(Duration::from_secs);
    let retry_after = in_header.or_else(|| status.retry_after());
    CallError::Status {
        status,
        retry_after,
    }
}

/// The next bytes of an answer, or nothing at its end.
pub(super) async fn next_chunk(
    body: &mut Body,
    within: Duration,
) -> Result<Option<Bytes>, CallError> {
    loop {
        // Most chunks of a list are there already, and a timer for each costs more than it.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => timeout(within, body.frame())
                .await
                .map_err(|_| CallError::Silent(within))?,
        };
        match frame.transpose().map_err(CallError::of_transport)? {
            Some(frame) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => continue,
            },
            None => return Ok(None),
        }
    }
}

/// A whole small answer.
pub(super) async fn small_body(body: &mut Body, within: Duration) -> Result<Bytes, CallError> {
    let mut whole = Vec::new();
    while let Some(chunk) = next_chunk(body, within).await? {
        whole.extend_from_slice(&chunk);
        if whole.len() > SMALL_BODY {
            return Err(CallError::Unreadable(DecodeError::TooLarge(
                whole.len() as u64
            )));
        }
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_answers_in_the_api_servers_place_is_no_answer() {
        let page = Bytes::from_static(b"<html><body>upstream connect error</body></html>");
        for code in [502, 503, 504] {
            let code = StatusCode::from_u16(code).unwrap();
            let error = refusal(code, &page, Some(3));
            assert!(error.unanswered(), "{code}");
            assert!(error.to_string().contains("upstream connect error"));
        }
        let own = Bytes::from_static(
            br#"{"kind":"Status","message":"overloaded","reason":"ServiceUnavailable","code":503}"#,
        );
        let error = refusal(StatusCode::SERVICE_UNAVAILABLE, &own, Some(3));
        assert!(!error.unanswered());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        let refused = refusal(StatusCode::TOO_MANY_REQUESTS, &page, None);
        assert!(!refused.unanswered(), "429 comes before anything is done");
    }
}
