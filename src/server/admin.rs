//! The admin listener: `/livez`, `/readyz` and `/metrics` over plain HTTP, for a kubelet and a Prometheus. Nothing else.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::drain::Step;
use crate::{
    audit::Audit,
    generation::Generations,
    kubernetes::{Connection, InformerStatus},
    limits::Pressure,
    reload::ReloadStatus,
    telemetry::metrics::{Metrics, Moment, plain},
    tls::{self, Expiry},
};

/// Connections at once; a kubelet and a Prometheus need few.
const CONNECTIONS: usize = 64;
/// How long a connection may take for its one request and the answer.
const REQUEST: Duration = Duration::from_secs(5);

/// What metrics are without being asked for anything else …
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// … and what they are for whoever takes only text.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The least `maxAge` of a readiness probe, in seconds: a watch in which nothing happens confirms the copy every 22 s.
const LEAST_AGE: u64 = 30;

/// What the admin listener tells of.
pub struct Admin {
    /// The informer's state, for readiness.
    pub status: Arc<InformerStatus>,
    /// The files in force, for when they expire.
    pub generations: Arc<Generations>,
    /// How reloads go, for `/readyz?verbose`.
    pub reloading: Arc<ReloadStatus>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Whether it can be written, for `/readyz?verbose`.
    pub audit: Audit,
    /// Ready only while no shutdown is under way.
    pub step: watch::Receiver<Step>,
}

impl Admin {
    /// Answers until the process ends, through a drain too. Its connections end with `connections`.
    pub async fn run(self: Arc<Self>, listener: TcpListener, connections: TaskTracker) {
        let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
        loop {
            let tcp = match listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    warn!(name: "admin.accept.failed", error = %error, "failed to accept an admin connection, pausing");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            open.retain(|connection| !connection.is_finished());
            if open.len() == CONNECTIONS {
                // The oldest has had the most time, and the new one may be a kubelet's.
                open.drain(..1).for_each(|oldest| oldest.abort());
            }
            let admin = Arc::clone(&self);
            let connection = connections.spawn(async move {
                let service = service_fn(|request| {
                    std::future::ready(Ok::<_, Infallible>(admin.answer(&request)))
                });
                let mut http1 = http1::Builder::new();
                // One request each, so that nobody's connections stand in the way of a kubelet's.
                http1.keep_alive(false).header_read_timeout(None);
                // A peer that goes away, or is slow, is no news here.
                let _ = timeout(REQUEST, http1.serve_connection(TokioIo::new(tcp), service)).await;
            });
            open.push_back(connection.abort_handle());
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let known = matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics");
        if !known {
            return text(
                StatusCode::NOT_FOUND,
                "not found: there are /livez, /readyz and /metrics\n".into(),
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "method not allowed: GET and HEAD are\n".into(),
            );
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.ready(request.uri().query()),
            _ => {
                let metrics = self.render();
                let (metrics, form) = match wants_plain(request.headers()) {
                    true => (plain(&metrics), PLAIN),
                    false => (metrics, OPEN_METRICS),
                };
                let mut response = text(StatusCode::OK, metrics);
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
                headers.insert(header::VARY, HeaderValue::from_static("Accept"));
                response
            }
        }
    }

    fn render(&self) -> String {
        let circuit = self.status.circuit();
        self.metrics.render(&Moment {
            following: self.status.following(),
            circuit_open: circuit.open().is_some(),
            answer_age: circuit.answer_age(),
            expiries: &self.soonest(),
        })
    }

    fn soonest(&self) -> Vec<Expiry> {
        let files = &self.generations.current().expiries;
        self.metrics.expiry.soonest(files, SystemTime::now())
    }

    fn shutting_down(&self) -> bool {
        *self.step.borrow() != Step::Serving
    }

    /// Ready once synced, until a shutdown begins. A lost cluster changes nothing: reads go on, and if all servers
    /// became unready together nobody would be served, unless the probe asks for a copy of at most some age. Nor does a
    /// failed reload: what was in force goes on.
    fn ready(&self, query: Option<&str>) -> Response<Full<Bytes>> {
        let oldest = match oldest_copy(query) {
            Ok(oldest) => oldest,
            Err(wrong) => return text(StatusCode::BAD_REQUEST, wrong),
        };
        let not_ready = not_ready(&self.status, self.shutting_down(), oldest);
        let status = match not_ready {
            None => StatusCode::OK,
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let summary = match &not_ready {
            None => "ok\n".to_owned(),
            Some(why) => format!("not ready: {why}\n"),
        };
        let verbose = query.is_some_and(|q| {
            q.split('&')
                .any(|p| p == "verbose" || p.starts_with("verbose="))
        });
        if verbose {
            text(status, self.details() + &summary)
        } else {
            text(status, summary)
        }
    }

    /// A line for each thing that a person would look at, in the form of Kubernetes' own `/readyz?verbose`.
    fn details(&self) -> String {
        let line = |name: &str, trouble: Option<String>| match trouble {
            None => format!("[+]{name} ok\n"),
            Some(why) => format!("[-]{name} {why}\n"),
        };
        let synced = self.status.store().snapshot().synced();
        let cluster = match self.status.connection() {
            Connection::Connected => None,
            Connection::NotSynced(why) | Connection::Lost(why) => Some(format!("failing: {why}")),
        };
        let circuit = self.status.circuit().open();
        let circuit = circuit.map(|why| format!("open, writes are refused: {why}"));
        let reload = self.reloading.failing().map(|(since, why)| {
            format!(
                "failed at {}, what was in force before goes on: {why}",
                tls::at(since)
            )
        });
        let audit = self
            .audit
            .failing()
            .map(|(since, why)| format!("can't be written since {}: {why}", tls::at(since)));
        let (used, budget) = self.metrics.memory.told();
        let mebibytes = |bytes: i64| bytes >> 20;
        let memory = match budget {
            None => format!("{} MiB, without a budget", mebibytes(used)),
            Some(budget) => format!("{} of {} MiB", mebibytes(used), mebibytes(budget)),
        };
        let memory = match self.metrics.memory.pressure() {
            Pressure::None => format!("[+]memory {memory}\n"),
            Pressure::Tight => {
                format!("[-]memory {memory}: lists are refused but for one at a time\n")
            }
            Pressure::Short => {
                format!("[-]memory {memory}: all is refused but reads of one count\n")
            }
            Pressure::Full => format!("[-]memory {memory}: new connections are refused\n"),
        };
        let now = SystemTime::now();
        let expiries = self.soonest().into_iter().map(|expiry| {
            let name = format!("expiry of {}", expiry.what.as_str().replace('_', " "));
            let end = tls::at(expiry.until);
            match expiry.is_near(now) {
                false => format!("[+]{name} {end}\n"),
                true => format!("[-]{name} {end}: {:?} is near its end\n", expiry.name),
            }
        });
        let lines = [
            line("synced", (!synced).then(|| "not yet".to_owned())),
            line("cluster", cluster),
            line("circuit", circuit),
            line("reload", reload),
            line(
                "shutdown",
                self.shutting_down().then(|| "under way".to_owned()),
            ),
            memory,
        ];
        let audit = self.audit.is_on().then(|| line("audit", audit));
        lines.into_iter().chain(audit).chain(expiries).collect()
    }
}

/// Why the server isn't ready, if it isn't; its copy may be `oldest` seconds old at most.
fn not_ready(status: &InformerStatus, stopping: bool, oldest: Option<u64>) -> Option<String> {
    if stopping {
        return Some("shutting down".into());
    }
    if !status.store().snapshot().synced() {
        return Some("the first list of Deployments isn't complete".into());
    }
    let (oldest, age) = (oldest?, status.age().as_secs());
    (age > oldest)
        .then(|| format!("the copy of the cluster is {age} s old, and maxAge allows {oldest} s"))
}

/// The age in seconds at which the copy is too old to be ready, where the probe's `?maxAge=` says so.
fn oldest_copy(query: Option<&str>) -> Result<Option<u64>, String> {
    let mut parameters = query.unwrap_or_default().split('&');
    let Some(given) = parameters.find_map(|p| p.strip_prefix("maxAge=")) else {
        return Ok(None);
    };
    // A sign of life comes once a watch: below that age a copy that follows the cluster would be unready now and then.
    match given.parse() {
        Ok(seconds) if seconds >= LEAST_AGE => Ok(Some(seconds)),
        _ => Err(format!(
            "maxAge is a whole number of seconds, {LEAST_AGE} or more\n"
        )),
    }
}

/// Whether a scraper asks for Prometheus' older text: it takes text, and not OpenMetrics.
fn wants_plain(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|v| v.to_str().ok()).collect();
    let takes = |form| accept.iter().any(|accept| accept.contains(form));
    takes("text/plain") && !takes("application/openmetrics-text")
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::store::Store;

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_ages_is_unready_only_where_the_probe_asks_for_it() {
        let store = Arc::new(Store::new(&[]));
        let status = InformerStatus::new(Arc::clone(&store));
        let ready = |query| {
            let oldest = oldest_copy(query).unwrap();
            not_ready(&status, false, oldest).is_none()
        };
        assert!(!ready(None), "not listed yet");
        let (scope, _) = store.scopes().remove(0);
        store.replace(store.draft(scope, Arc::default()), 1);
        advance(Duration::from_secs(45)).await;
        assert!(ready(Some("maxAge=45")));
        advance(Duration::from_secs(1)).await;
        assert!(ready(None) && ready(Some("verbose")) && ready(Some("maxAge=60")));
        assert!(!ready(Some("maxAge=45")) && !ready(Some("verbose&maxAge=30")));
        for wrong in ["maxAge=", "maxAge=29", "maxAge=30s", "maxAge=-1"] {
            assert!(oldest_copy(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
