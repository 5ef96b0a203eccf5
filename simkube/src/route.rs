//! What a request names: its path, its parameters, and what kind of call that makes.

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::autoscaler;
use crate::discovery;
use crate::faults::Call;
use crate::lease;
use crate::list::Token;
use crate::own;
use crate::status::{DEPLOYMENTS, Status};

/// The parameters of a query.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// A parameter, empty if it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// A parameter that is true or false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let present = self.0.iter().any(|(key, _)| key == name);
        present && !matches!(self.get(name), "false" | "0" | "False" | "f")
    }

    /// `resourceVersion`, `None` if it is unset; or what is wrong with it.
    pub(crate) fn version(&self) -> Result<Option<u64>, String> {
        match self.get("resourceVersion") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax")
            }),
        }
    }

    /// A parameter that is a whole number, `None` if it is absent.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!(
                    "strconv.ParseInt: parsing \"{text}\": invalid syntax"
                ))
            }),
        }
    }

    /// Whether nothing is to be changed.
    pub(crate) fn dry_run(&self, method: &Method) -> Result<bool, Status> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let kind = match *method {
                    Method::POST => "CreateOptions",
                    Method::PATCH => "PatchOptions",
                    Method::DELETE => "DeleteOptions",
                    _ => "UpdateOptions",
                };
                let body = format!("Unsupported value: [\"{other}\"]: supported values: \"All\"");
                Err(Status::invalid(
                    "meta.k8s.io",
                    kind,
                    "",
                    "dryRun",
                    "FieldValueNotSupported",
                    &body,
                ))
            }
        }
    }
}

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Document(Value),
    Healthy,
    Namespaces,
    Namespace(String),
    Deployments(Option<String>),
    Deployment(String, String),
    Scale(String, String),
    AccessReviews,
    /// Reviews of this kind of what the caller itself may do.
    OwnReviews(&'static str),
    /// HorizontalPodAutoscalers of a namespace or of all.
    Autoscalers(Option<String>),
    /// Leases of a namespace or of all.
    Leases(Option<String>),
    Lease(String, String),
    /// ReplicaSets of a namespace.
    ReplicaSets(String),
    Events(String),
    Event(String, String),
    /// No such resource in an API that there is.
    UnknownResource,
    Unknown,
}

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        let path = if path.len() > 1 {
            path.trim_end_matches('/')
        } else {
            path
        };
        if let Some(document) = discovery::document(path) {
            return Self::Document(document);
        }
        let segments: Vec<String> = path
            .split('/')
            .skip(1)
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["readyz" | "livez" | "healthz", ..] => Self::Healthy,
            ["api", "v1", "namespaces"] => Self::Namespaces,
            ["api", "v1", "namespaces", name] => Self::Namespace(name.to_owned()),
            ["apis", "apps", "v1", "deployments"] => Self::Deployments(None),
            ["apis", "apps", "v1", "namespaces", ns, "deployments"] => {
                Self::Deployments(Some(ns.to_owned()))
            }
            ["apis", "apps", "v1", "namespaces", ns, "deployments", name] => {
                Self::Deployment(ns.to_owned(), name.to_owned())
            }
            [
                "apis",
                "apps",
                "v1",
                "namespaces",
                ns,
                "deployments",
                name,
                "scale",
            ] => Self::Scale(ns.to_owned(), name.to_owned()),
            ["apis", "apps", "v1", "namespaces", ns, "replicasets"] => {
                Self::ReplicaSets(ns.to_owned())
            }
            ["apis", "authorization.k8s.io", "v1", "subjectaccessreviews"] => Self::AccessReviews,
            [
                "apis",
                "authorization.k8s.io",
                "v1",
                "selfsubjectaccessreviews",
            ] => Self::OwnReviews(own::ACCESS),
            [
                "apis",
                "authorization.k8s.io",
                "v1",
                "selfsubjectrulesreviews",
            ] => Self::OwnReviews(own::RULES),
            ["apis", "autoscaling", "v2", "horizontalpodautoscalers"] => Self::Autoscalers(None),
            [
                "apis",
                "autoscaling",
                "v2",
                "namespaces",
                ns,
                "horizontalpodautoscalers",
            ] => Self::Autoscalers(Some(ns.to_owned())),
            ["apis", "coordination.k8s.io", "v1", "leases"] => Self::Leases(None),
            [
                "apis",
                "coordination.k8s.io",
                "v1",
                "namespaces",
                ns,
                "leases",
            ] => Self::Leases(Some(ns.to_owned())),
            [
                "apis",
                "coordination.k8s.io",
                "v1",
                "namespaces",
                ns,
                "leases",
                name,
            ] => Self::Lease(ns.to_owned(), name.to_owned()),
            ["api", "v1", "namespaces", ns, "events"] => Self::Events(ns.to_owned()),
            ["api", "v1", "namespaces", ns, "events", name] => {
                Self::Event(ns.to_owned(), name.to_owned())
            }
            ["api", "v1", ..] | ["apis", "apps", "v1", ..] => Self::UnknownResource,
            _ => Self::Unknown,
        }
    }

    pub(crate) fn call(&self, method: &Method, query: &Query) -> Call {
        let reads = method == Method::GET;
        match self {
            Self::Deployments(_) if reads && query.flag("watch") => Call::Watch,
            // A list of one name is a read of that one.
            Self::Deployments(Some(_))
                if reads && query.get("fieldSelector").starts_with("metadata.name=") =>
            {
                Call::Get
            }
            Self::Deployments(_) if reads => match query.get("continue") {
                "" if query.get("limit") == "1" => Call::Probe,
                "" => Call::List { page: 1 },
                token => Call::List {
                    page: Token::decode(token).map_or(2, |token| token.page),
                },
            },
            Self::Deployment(..) if reads => Call::Get,
            Self::Scale(..) if reads => Call::ScaleGet,
            Self::Scale(..) => Call::Scale,
            Self::AccessReviews | Self::OwnReviews(_) => Call::Review,
            Self::Autoscalers(_) => Call::Autoscalers,
            Self::Leases(_) | Self::Lease(..) if reads => Call::Leases,
            Self::Leases(_) | Self::Lease(..) => Call::LeaseWrite,
            Self::Events(_) | Self::Event(..) if !reads => Call::EventWrite,
            _ if reads => Call::Other,
            _ => Call::Write,
        }
    }

    /// The resource, name and namespace that RBAC judges.
    pub(crate) fn subject(&self) -> (&str, &str, Option<&str>) {
        match self {
            Self::Deployments(namespace) => (DEPLOYMENTS, "", namespace.as_deref()),
            Self::Deployment(namespace, name) => (DEPLOYMENTS, name, Some(namespace)),
            Self::Scale(namespace, name) => ("deployments/scale", name, Some(namespace)),
            Self::Namespace(name) => ("namespaces", name, Some(name)),
            Self::AccessReviews => ("subjectaccessreviews", "", None),
            Self::OwnReviews(own::ACCESS) => ("selfsubjectaccessreviews", "", None),
            Self::OwnReviews(_) => ("selfsubjectrulesreviews", "", None),
            Self::Autoscalers(namespace) => (autoscaler::KIND.resource, "", namespace.as_deref()),
            Self::Leases(namespace) => (lease::KIND.resource, "", namespace.as_deref()),
            Self::Lease(namespace, name) => (lease::KIND.resource, name, Some(namespace)),
            Self::ReplicaSets(namespace) => ("replicasets", "", Some(namespace)),
            Self::Events(namespace) => ("events", "", Some(namespace)),
            Self::Event(namespace, name) => ("events", name, Some(namespace)),
            _ => ("namespaces", "", None),
        }
    }
}
