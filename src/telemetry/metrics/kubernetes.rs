//! What the API server is asked, and how it goes.

use std::{sync::atomic::AtomicU64, time::Duration};

use http::{Method, Request};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::durations::Durations;

/// What a call does, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Call {
    verb: &'static str,
    resource: &'static str,
}

impl Call {
    /// What a request to the API server does: of its path only what has few values.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let (path, query) = (request.uri().path(), request.uri().query());
        let segments: Vec<_> = path.split('/').skip(1).collect();
        // What is behind the group and version, and behind a namespace.
        let rest = match &segments[..] {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let rest = match rest {
            ["namespaces", _, rest @ ..] => rest,
            rest => rest,
        };
        let (resource, named) = match rest {
            ["deployments"] => ("deployments", false),
            ["deployments", _] => ("deployments", true),
            ["deployments", _, "scale"] => ("deployments/scale", true),
            ["horizontalpodautoscalers"] => ("horizontalpodautoscalers", false),
            ["leases"] => ("leases", false),
            ["leases", _] => ("leases", true),
            ["subjectaccessreviews"] => ("subjectaccessreviews", false),
            ["selfsubjectaccessreviews"] => ("selfsubjectaccessreviews", false),
            ["events"] => ("events", false),
            ["events", _] => ("events", true),
            _ => ("other", false),
        };
        let watches = query.is_some_and(|query| query.split('&').any(|p| p == "watch=true"));
        let verb = match *request.method() {
            Method::GET if watches => "watch",
            Method::GET if named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, resource }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    verb: &'static str,
    resource: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    reason: &'static str,
}

/// Why a write was sent again, or read again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Retry {
    /// The Deployment had changed.
    Conflict,
    /// The API server asked for some time (429).
    Throttled,
    /// There was no answer.
    Unanswered,
    /// The API server refused what was judged, and showed nothing newer.
    Unexplained,
}

impl Retry {
    const ALL: [Self; 4] = [
        Self::Conflict,
        Self::Throttled,
        Self::Unanswered,
        Self::Unexplained,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::Unanswered => "unanswered",
            Self::Unexplained => "unexplained",
        }
    }
}

/// What is counted of calls to the API server.
#[derive(Debug, Default)]
pub struct CallMetrics {
    calls: Family<AnswerLabels, Counter>,
    durations: Family<Call, Durations>,
    retries: Family<RetryLabels, Counter>,
    withheld: Counter,
    circuit: Gauge,
    answer_age: Gauge<f64, AtomicU64>,
}

impl CallMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "kubernetes_requests",
            "Calls to the Kubernetes API, by verb, resource and code: HTTP's, or why there is none",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "kubernetes_request_duration",
            "From a call to the Kubernetes API until its answer began, or there was none, by verb and resource",
            Unit::Seconds,
            self.durations.clone(),
        );
        for retry in Retry::ALL {
            let reason = retry.as_str();
            drop(self.retries.get_or_create(&RetryLabels { reason }));
        }
        registry.register(
            "kubernetes_retries",
            "Writes that were sent or read again, by reason",
            self.retries.clone(),
        );
        registry.register(
            "kubernetes_retries_withheld",
            "Writes that weren't sent or read again, since so much was already",
            self.withheld.clone(),
        );
        registry.register(
            "kubernetes_circuit_open",
            "1 while the Kubernetes API doesn't answer: writes are refused at once",
            self.circuit.clone(),
        );
        registry.register_with_unit(
            "kubernetes_answer_age",
            "How long ago the Kubernetes API last answered anything",
            Unit::Seconds,
            self.answer_age.clone(),
        );
    }

    pub(super) fn show(&self, circuit_open: bool, answer_age: Duration) {
        self.circuit.set(i64::from(circuit_open));
        self.answer_age.set(answer_age.as_secs_f64());
    }

    /// A call was answered with a status, or failed in one of a few ways.
    pub(crate) fn called(&self, call: Call, code: String, took: Duration) {
        let Call { verb, resource } = call;
        let labels = AnswerLabels {
            verb,
            resource,
            code,
        };
        self.calls.get_or_create(&labels).inc();
        self.durations.get_or_create(&call).observe(took);
    }

    /// A write is attempted once more, or read again.
    pub(crate) fn retried(&self, why: Retry) {
        let reason = why.as_str();
        self.retries.get_or_create(&RetryLabels { reason }).inc();
    }

    /// A write isn't attempted once more, for the budget of retries.
    pub(crate) fn withheld(&self) {
        self.withheld.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_by_kubernetes_words_for_it_and_never_by_a_name() {
        let call = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri);
            let Call { verb, resource } = Call::of(&request.body(()).unwrap());
            (verb, resource)
        };
        let apps = "/apis/apps/v1";
        let one = format!("{apps}/namespaces/scale/deployments/events");
        for (method, uri, verb, resource) in [
            (
                "GET",
                format!("{apps}/deployments?limit=2000"),
                "list",
                "deployments",
            ),
            (
                "GET",
                format!("{apps}/namespaces/deployments/deployments?watch=true&x=1"),
                "watch",
                "deployments",
            ),
            ("PATCH", one.clone(), "patch", "deployments"),
            ("PUT", format!("{one}/scale"), "update", "deployments/scale"),
            (
                "POST",
                "/apis/authorization.k8s.io/v1/subjectaccessreviews".into(),
                "create",
                "subjectaccessreviews",
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/deployments/events".into(),
                "create",
                "events",
            ),
            (
                "PATCH",
                "/api/v1/namespaces/a/events/scale".into(),
                "patch",
                "events",
            ),
            (
                "DELETE",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/deployments".into(),
                "delete",
                "leases",
            ),
            ("OPTIONS", "/version".into(), "other", "other"),
        ] {
            assert_eq!(call(method, &uri), (verb, resource), "{method} {uri}");
        }
    }
}
