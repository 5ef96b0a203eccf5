//! Requests and connections of callers: rate, errors, duration.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{ResultLabels, durations::Durations};

/// A route as metrics call it: a template, never a path, so that labels stay few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    Page,
    PageFile,
    Health,
    WhoAmI,
    History,
    Deployments,
    Replicas,
    Lease,
    Leases,
    Containers,
    Image,
    OpenApi,
    Docs,
    NamespaceDeployments,
    Deployment,
    Restart,
    Paused,
    Rollback,
    Batches,
    BatchRestore,
    /// A path that doesn't exist.
    None,
}

impl Template {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 21] = [
        Self::Page,
        Self::PageFile,
        Self::Health,
        Self::WhoAmI,
        Self::History,
        Self::Deployments,
        Self::Replicas,
        Self::Lease,
        Self::Leases,
        Self::Containers,
        Self::Image,
        Self::OpenApi,
        Self::Docs,
        Self::NamespaceDeployments,
        Self::Deployment,
        Self::Restart,
        Self::Paused,
        Self::Rollback,
        Self::Batches,
        Self::BatchRestore,
        Self::None,
    ];

    /// The label's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "/",
            Self::PageFile => "/page/{file}",
            Self::Health => "/api/v1/health",
            Self::WhoAmI => "/api/v1/whoami",
            Self::History => "/api/v1/history",
            Self::Deployments => "/api/v1/deployments",
            Self::Lease => "/api/v1/namespaces/{namespace}/deployments/{name}/lease",
            Self::Leases => "/api/v1/leases",
            Self::Replicas => "/api/v1/namespaces/{namespace}/deployments/{name}/replicas",
            Self::Containers => "/api/v1/namespaces/{namespace}/deployments/{name}/containers",
            Self::Image => {
                "/api/v1/namespaces/{namespace}/deployments/{name}/containers/{container}/image"
            }
            Self::OpenApi => "/api/v1/openapi.json",
            Self::Docs => "/api/v1/docs",
            Self::NamespaceDeployments => "/api/v1/namespaces/{namespace}/deployments",
            Self::Deployment => "/api/v1/namespaces/{namespace}/deployments/{name}",
            Self::Restart => "/api/v1/namespaces/{namespace}/deployments/{name}/restart",
            Self::Paused => "/api/v1/namespaces/{namespace}/deployments/{name}/paused",
            Self::Rollback => "/api/v1/namespaces/{namespace}/deployments/{name}/rollback",
            Self::Batches => "/api/v1/batches",
            Self::BatchRestore => "/api/v1/batches/restore",
            Self::None => "none",
        }
    }
}

/// Any token is a method; those that no route has share a label.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabels {
    protocol: &'static str,
}

/// What is counted of callers.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Durations>,
    /// Those of single counts that are read, which come a hundred thousand a second: found without hashing labels.
    reads: Counter,
    read_durations: Durations,
    in_flight: Gauge,
    connections: Gauge,
    protocols: Family<ProtocolLabels, Gauge>,
    handshakes: Family<ResultLabels, Counter>,
    handshake_durations: Family<ResultLabels, Durations>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let (requests, durations) = (Family::default(), Family::default());
        let (route, method) = (Template::Replicas.as_str(), "GET");
        let status = 200;
        let (reads, read_durations) = (
            Family::get_or_create_owned(
                &requests,
                &RequestLabels {
                    route,
                    method,
                    status,
                },
            ),
            Family::get_or_create_owned(&durations, &RouteLabels { route, method }),
        );
        Self {
            requests,
            durations,
            reads,
            read_durations,
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            protocols: Family::default(),
            handshakes: Family::default(),
            handshake_durations: Family::default(),
        }
    }
}

impl HttpMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests answered, by route, method and status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "From a request's headers until its answer began, by route and method",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests that are being answered",
            self.in_flight.clone(),
        );
        registry.register(
            "connections",
            "Open connections of callers, those before and in their handshake too",
            self.connections.clone(),
        );
        for protocol in ["h2", "http/1.1"] {
            drop(self.protocols.get_or_create(&ProtocolLabels { protocol }));
        }
        registry.register(
            "http_connections",
            "Open connections of callers that were let in, by protocol",
            self.protocols.clone(),
        );
        let result = "accepted";
        drop(self.handshakes.get_or_create(&ResultLabels { result }));
        for result in [result, "failed"] {
            let labels = ResultLabels { result };
            drop(self.handshake_durations.get_or_create(&labels));
        }
        registry.register(
            "tls_handshakes",
            "Handshakes, by result: accepted, or why not",
            self.handshakes.clone(),
        );
        registry.register_with_unit(
            "tls_handshake_duration",
            "From a client's first byte until it was let in (accepted) or not (failed)",
            Unit::Seconds,
            self.handshake_durations.clone(),
        );
    }

    /// A request is in flight until this is dropped.
    #[inline]
    pub(crate) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    /// A request was answered, after so long.
    pub(crate) fn answered(
        &self,
        route: Template,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        if route == Template::Replicas && *method == Method::GET && status == StatusCode::OK {
            self.reads.inc();
            self.read_durations.observe(took);
            return;
        }
        let (route, method) = (route.as_str(), label(method));
        let labels = RequestLabels {
            route,
            method,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let durations = self.durations.get_or_create(&RouteLabels { route, method });
        durations.observe(took);
    }

    /// A connection is open until this is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        OpenConnection::of(self.connections.clone())
    }

    /// A connection of one protocol is served until this is dropped.
    pub(crate) fn serving(&self, multiplexed: bool) -> OpenConnection {
        let protocol = if multiplexed { "h2" } else { "http/1.1" };
        let labels = ProtocolLabels { protocol };
        OpenConnection::of(self.protocols.get_or_create_owned(&labels))
    }

    /// A handshake ended, with `accepted` or the reason.
    pub(crate) fn handshake(&self, result: &'static str) {
        let labels = ResultLabels { result };
        self.handshakes.get_or_create(&labels).inc();
    }

    /// A client was let in or wasn't, so long after its first byte.
    pub(crate) fn shaken(&self, accepted: bool, took: Duration) {
        let result = if accepted { "accepted" } else { "failed" };
        let labels = ResultLabels { result };
        let durations = self.handshake_durations.get_or_create(&labels);
        durations.observe(took);
    }
}

/// Counts a request as in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts a connection as open.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl OpenConnection {
    fn of(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_name_of_its_own_which_the_page_about_metrics_has() {
        let page = include_str!("../../../docs/metrics.md");
        for template in Template::ALL {
            let name = template.as_str();
            let same = Template::ALL.iter().filter(|t| t.as_str() == name);
            assert_eq!(same.count(), 1, "{name}");
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
