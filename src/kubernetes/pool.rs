//! The connections to the API server that are kept, and given up together when one of them falls silent.
//!
//! What drops one connection without a word, a load balancer or a firewall, drops its neighbours too. Each that stayed would
//! cost somebody a whole deadline.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::Connect},
    rt::TokioExecutor,
};
use kube::client::Body;
use tokio::time::Instant;
use tower::Service;

/// Whoever gives up earlier didn't do so at a deadline, of which the shortest is this: a caller hung up, or a watch is begun anew.
const SILENT: Duration = Duration::from_secs(2);

/// Sends requests over connections that it keeps.
#[derive(Clone)]
pub(super) struct Pool<C>(Arc<Shared<C>>);

struct Shared<C> {
    connector: C,
    kept: ArcSwap<Client<C, Body>>,
}

impl<C: Connect + Clone + Send + Sync + 'static> Pool<C> {
    /// An empty one.
    pub(super) fn new(connector: C) -> Self {
        let kept = ArcSwap::from_pointee(none_kept(&connector));
        Self(Arc::new(Shared { connector, kept }))
    }
}

fn none_kept<C: Connect + Clone>(connector: &C) -> Client<C, Body> {
    Client::builder(TokioExecutor::new()).build(connector.clone())
}

impl<C: Connect + Clone + Send + Sync + 'static> Service<Request<Body>> for Pool<C> {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let waiting = Waiting {
            shared: Arc::clone(&self.0),
            client: self.0.kept.load_full(),
            began: Instant::now(),
            answered: false,
        };
        Box::pin(async move {
            // As a whole: its end is to see what is changed in it.
            let mut waiting = waiting;
            let answer = waiting.client.request(request).await;
            waiting.answered = true;
            answer
        })
    }
}

/// A request without an answer. Dropped as such after a while, it was given up: its deadline passed.
struct Waiting<C: Connect + Clone> {
    shared: Arc<Shared<C>>,
    client: Arc<Client<C, Body>>,
    began: Instant,
    answered: bool,
}

impl<C: Connect + Clone> Drop for Waiting<C> {
    fn drop(&mut self) {
        if self.answered || self.began.elapsed() < SILENT {
            return;
        }
        // What others are waiting for on these connections goes on; nothing new is sent over them.
        let fresh = Arc::new(none_kept(&self.shared.connector));
        self.shared.kept.compare_and_swap(&self.client, fresh);
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::connect::HttpConnector;
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_deadline_gives_up_all_connections_and_who_hangs_up_does_not() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let mut pool = Pool::new(HttpConnector::new());
        let mut given_up = async |after: Duration| {
            let before = pool.0.kept.load_full();
            let request = Request::get(&url).body(Body::empty()).unwrap();
            assert!(timeout(after, pool.call(request)).await.is_err());
            !Arc::ptr_eq(&before, &pool.0.kept.load_full())
        };
        assert!(!given_up(SILENT - Duration::from_millis(1)).await);
        assert!(given_up(SILENT).await);
    }
}
