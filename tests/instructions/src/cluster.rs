//! An API server that replays: prepared pages of a list, then a watch whose events come one by one, when asked for.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::future::poll_fn;
use headcount::{
    kubernetes::{Informer, InformerStatus, Managed},
    store::{Deployment, Store},
    telemetry::metrics::Metrics,
};
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::sync::watch;
use tower::service_fn;

use crate::{
    fixture::{self, FIRST_VERSION},
    wire,
};

/// What one read of a connection brings: a full TLS record.
const CHUNK: usize = 16 * 1024;

/// A cluster that is listed once and then watched.
#[derive(Debug, Clone)]
pub struct Cluster {
    pages: Arc<[Bytes]>,
    watch: Arc<Mutex<Watch>>,
}

#[derive(Debug, Default)]
struct Watch {
    frames: VecDeque<Bytes>,
    /// Whether the last poll got a frame: the next one finds nothing first, so that each event arrives on its own.
    pause: bool,
    reader: Option<Waker>,
    drained: Option<Waker>,
}

impl Cluster {
    /// A cluster of `count` Deployments; its pages are encoded now.
    pub fn new(count: usize) -> Self {
        let mut pages: Vec<_> = fixture::pages(count).peekable().collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        let pages = pages.iter().enumerate().map(|(i, items)| {
            let token = if i == last {
                String::new()
            } else {
                (i + 1).to_string()
            };
            wire::page(items, FIRST_VERSION, &token).into()
        });
        Self {
            pages: pages.collect(),
            watch: Arc::default(),
        }
    }

    /// An informer of this cluster, and its status; its store is empty until the informer runs.
    pub fn informer(&self) -> (Informer, Arc<InformerStatus>) {
        let status = Arc::new(InformerStatus::new(Arc::new(Store::new(&[]))));
        let metrics = Arc::clone(&Metrics::default().informer);
        let informer = Informer::new(
            self.client(),
            Managed::default(),
            watch::channel(Arc::default()).1,
            Arc::clone(&status),
            metrics,
        );
        (informer, status)
    }

    /// Sends these changes down the watch, each when the one before it was taken, and waits until all were.
    pub async fn send(&self, changes: impl IntoIterator<Item = Bytes>) {
        {
            let mut watch = self.watch();
            watch.frames.extend(changes);
            watch.reader.take().into_iter().for_each(Waker::wake);
        }
        poll_fn(|context| {
            let mut watch = self.watch();
            if watch.frames.is_empty() && !watch.pause && watch.reader.is_some() {
                return Poll::Ready(());
            }
            watch.drained = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn client(&self) -> kube::Client {
        let this = self.clone();
        let answer = move |request: Request<kube::client::Body>| {
            let body = this.answer(request.uri().query().unwrap_or_default());
            async move { Ok::<_, Infallible>(Response::new(body)) }
        };
        kube::Client::new(service_fn(answer), "default")
    }

    fn answer(&self, query: &str) -> Answer {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|p| p.split_once('=').filter(|(n, _)| *n == name))
                .map(|(_, value)| value)
        };
        if parameter("watch").is_some() {
            return Answer::Watch(Arc::clone(&self.watch));
        }
        if parameter("limit") == Some("1") {
            return Answer::Whole(wire::page(&[], FIRST_VERSION, "").into());
        }
        let page = parameter("continue")
            .and_then(|token| token.parse().ok())
            .unwrap_or(0);
        Answer::Whole(self.pages.get::<usize>(page).cloned().unwrap_or_default())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frame of a watch that says how a Deployment looks now.
pub fn modified(deployment: &Deployment) -> Bytes {
    wire::frame("MODIFIED", deployment).into()
}

/// The body of an answer.
enum Answer {
    Whole(Bytes),
    Watch(Arc<Mutex<Watch>>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(rest) if rest.is_empty() => Poll::Ready(None),
            Self::Whole(rest) => {
                let chunk = rest.split_to(rest.len().min(CHUNK));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Self::Watch(watch) => {
                let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
                if std::mem::take(&mut watch.pause) && !watch.frames.is_empty() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match watch.frames.pop_front() {
                    Some(frame) => {
                        watch.pause = true;
                        Poll::Ready(Some(Ok(Frame::data(frame))))
                    }
                    None => {
                        watch.reader = Some(context.waker().clone());
                        watch.drained.take().into_iter().for_each(Waker::wake);
                        Poll::Pending
                    }
                }
            }
        }
    }
}
