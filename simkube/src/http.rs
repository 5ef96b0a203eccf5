//! One request: what it is, which faults it meets, who answers it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::body::{Body, broken};
use crate::cluster::Shared;
use crate::faults::{Call, Fault};
use crate::list::{BAD_JSON, Token};
use crate::log::SeenRequest;
use crate::negotiate::{Encoding, JSON};
use crate::object::Object;
use crate::serve::TransportError;
use crate::status::{APPS, DEPLOYMENTS, Status};
use crate::write::{self, Deleted};
use crate::{discovery, json, list, scale, watch, wire};

/// The largest body of a request.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// The parameters of a query.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
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

    /// `resourceVersion`, `None` if it is unset.
    pub(crate) fn version(&self) -> Result<Option<u64>, Status> {
        match self.get("resourceVersion") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!(
                    "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
                ))
            }),
        }
    }

    fn dry_run(&self) -> Result<bool, Status> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let body = format!("Unsupported value: \"{other}\": supported values: \"All\"");
                Err(Status::invalid(
                    "meta.k8s.io",
                    "UpdateOptions",
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
enum Route {
    Document(Value),
    Healthy,
    Namespaces,
    Namespace(String),
    Deployments(Option<String>),
    Deployment(String, String),
    Scale(String, String),
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
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
            _ => Self::Unknown,
        }
    }

    fn call(&self, method: &Method, query: &Query) -> Call {
        let reads = method == Method::GET;
        match self {
            Self::Deployments(_) if reads && query.flag("watch") => Call::Watch,
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
            _ if reads => Call::Other,
            _ => Call::Write,
        }
    }

    /// The resource, name and namespace that RBAC judges.
    fn subject(&self) -> (&str, &str, Option<&str>) {
        match self {
            Self::Deployments(namespace) => (DEPLOYMENTS, "", namespace.as_deref()),
            Self::Deployment(namespace, name) => (DEPLOYMENTS, name, Some(namespace)),
            Self::Scale(namespace, name) => ("deployments/scale", name, Some(namespace)),
            Self::Namespace(name) => ("namespaces", name, Some(name)),
            _ => ("namespaces", "", None),
        }
    }
}

/// Answers one request.
pub(crate) async fn answer<B>(
    shared: Arc<Shared>,
    request: http::Request<B>,
) -> Result<Response<Body>, TransportError>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let route = Route::of(parts.uri.path());
    let call = route.call(&parts.method, &query);
    shared.log.note(call, seen(&parts));
    let (delay, fault) = shared.faults.on_call(call);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let encoding = Encoding::negotiate(&parts.headers);
    let mut exchange = Exchange {
        shared,
        parts,
        query,
        route,
        call,
        encoding: encoding.clone().unwrap_or(Encoding::Json),
    };
    let fault = match fault {
        Some((rule, Fault::Hang)) => {
            exchange.shared.faults.removed(rule).await;
            None
        }
        Some((_, Fault::Refuse)) => return Err(TransportError),
        Some((rule, Fault::AfterCommit(after))) => {
            let _ = exchange.respond(body, None).await;
            match *after {
                Fault::Hang => {
                    exchange.shared.faults.removed(rule).await;
                    return Err(TransportError);
                }
                Fault::Delay(time) => {
                    tokio::time::sleep(time).await;
                    return Err(TransportError);
                }
                other => match exchange.refusal(&other) {
                    Some(status) => return Ok(exchange.finish(Err(status))),
                    None => return Err(TransportError),
                },
            }
        }
        other => other.map(|(_, fault)| fault),
    };
    if let Some(status) = fault.as_ref().and_then(|fault| exchange.refusal(fault)) {
        return Ok(exchange.finish(Err(status)));
    }
    let answer = match encoding {
        Err(status) => Err(status),
        Ok(_) => exchange.respond(body, fault.clone()).await,
    };
    let response = exchange.finish(answer);
    Ok(match fault {
        Some(fault) if call != Call::Watch => exchange.spoil(response, &fault).await,
        _ => response,
    })
}

fn seen(parts: &Parts) -> SeenRequest {
    SeenRequest {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
    }
}

struct Exchange {
    shared: Arc<Shared>,
    parts: Parts,
    query: Query,
    route: Route,
    call: Call,
    encoding: Encoding,
}

impl Exchange {
    /// The status with which a fault answers this request, if it is one that answers.
    fn refusal(&self, fault: &Fault) -> Option<Status> {
        let (resource, name, namespace) = self.route.subject();
        let group = if resource == "namespaces" { "" } else { APPS };
        let plain = resource.split('/').next().unwrap_or_default();
        Some(match fault {
            Fault::Status { code, retry_after } => {
                let status = Status::usual(*code);
                retry_after.map_or_else(
                    || status.clone(),
                    |seconds| status.clone().retry_after(seconds),
                )
            }
            Fault::Unauthorized => Status::usual(401),
            Fault::Forbidden { user } => {
                let verb = self.verb();
                let place = match namespace {
                    Some(namespace) => format!("in the namespace \"{namespace}\""),
                    None => "at the cluster scope".to_owned(),
                };
                let why = format!(
                    "User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
                );
                Status::forbidden(group, plain, name, &why)
            }
            Fault::Webhook {
                name,
                message,
                code,
            } => {
                let reason = if *code == 403 { "Forbidden" } else { "" };
                let message = format!("admission webhook \"{name}\" denied the request: {message}");
                Status::new(if *code < 400 { 400 } else { *code }, reason, message)
            }
            Fault::Quota { name: quota } => {
                let why = format!(
                    "exceeded quota: {quota}, requested: count/deployments.apps=1, used: count/deployments.apps=1, \
                     limited: count/deployments.apps=1"
                );
                Status::forbidden(group, plain, name, &why)
            }
            Fault::Conflict => Status::modified(name),
            Fault::Expired if self.call != Call::Watch => {
                let token = Token::decode(self.query.get("continue")).ok();
                list::expired(token.as_ref())
            }
            _ => return None,
        })
    }

    /// The verb of RBAC.
    fn verb(&self) -> &'static str {
        match (self.call, &self.parts.method) {
            (Call::Watch, _) => "watch",
            (Call::List { .. } | Call::Probe, _) => "list",
            (_, &Method::POST) => "create",
            (_, &Method::PUT) => "update",
            (_, &Method::PATCH) => "patch",
            (_, &Method::DELETE) => "delete",
            _ => "get",
        }
    }

    async fn respond<B>(&mut self, body: B, fault: Option<Fault>) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let bad_object = fault == Some(Fault::BadObject);
        let shared = self.shared.clone();
        let method = self.parts.method.clone();
        match (self.route.clone(), method) {
            (Route::Document(document), Method::GET) => Ok(self.json(200, &document)),
            (Route::Healthy, Method::GET) => Ok(Response::new(Body::full("ok"))),
            (Route::Namespaces, Method::GET) => Ok(self.json(200, &write::namespaces(&shared))),
            (Route::Namespaces, Method::POST) => {
                let body = self.json_body(body, &[JSON]).await?;
                Ok(self.json(
                    201,
                    &write::create_namespace(&shared, &body, self.query.dry_run()?)?,
                ))
            }
            (Route::Namespace(name), Method::GET) => {
                Ok(self.json(200, &write::namespace(&shared, &name)?))
            }
            (Route::Namespace(name), Method::DELETE) => Ok(self.json(
                200,
                &write::delete_namespace(&shared, &name, self.query.dry_run()?)?,
            )),
            (Route::Deployments(namespace), Method::GET) if self.call == Call::Watch => {
                watch::answer(
                    &shared,
                    namespace.as_deref(),
                    &self.query,
                    self.encoding,
                    fault,
                )
                .await
            }
            (Route::Deployments(namespace), Method::GET) => {
                list::answer(
                    &shared,
                    namespace.as_deref(),
                    &self.query,
                    self.encoding,
                    bad_object,
                )
                .await
            }
            (Route::Deployments(Some(namespace)), Method::POST) => {
                let body = self.json_body(body, &[JSON]).await?;
                let object = write::create(&shared, &namespace, &body, self.query.dry_run()?)?;
                Ok(self.deployment(201, &object))
            }
            (Route::Deployment(namespace, name), method) => {
                self.one_deployment(&namespace, &name, &method, body).await
            }
            (Route::Scale(namespace, name), method) => {
                self.one_scale(&namespace, &name, &method, body).await
            }
            (Route::Unknown, _) => Err(Status::no_such_path()),
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn one_deployment<B>(
        &self,
        namespace: &str,
        name: &str,
        method: &Method,
        body: B,
    ) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = &self.shared;
        let dry = self.query.dry_run()?;
        let object = match *method {
            Method::GET => self.find(namespace, name)?,
            Method::PUT => write::replace(
                shared,
                namespace,
                name,
                &self.json_body(body, &[JSON]).await?,
                dry,
            )?,
            Method::PATCH => write::patch(
                shared,
                namespace,
                name,
                &self.json_body(body, PATCHES).await?,
                dry,
            )?,
            Method::DELETE => {
                let options = self.json_body(body, &[JSON]).await?;
                let dry = dry || options["dryRun"][0] == "All";
                match write::delete(shared, namespace, name, &options, dry)? {
                    Deleted::Gone(status) => return Ok(self.status(&status)),
                    Deleted::Waits(object) => object,
                }
            }
            _ => return Err(Status::method_not_allowed()),
        };
        Ok(self.deployment(200, &object))
    }

    async fn one_scale<B>(
        &self,
        namespace: &str,
        name: &str,
        method: &Method,
        body: B,
    ) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = &self.shared;
        let dry = self.query.dry_run()?;
        let object = match *method {
            Method::GET => self.find(namespace, name)?,
            Method::PUT => scale::replace(
                shared,
                namespace,
                name,
                &self.json_body(body, &[JSON]).await?,
                dry,
            )?,
            Method::PATCH => scale::patch(
                shared,
                namespace,
                name,
                self.json_body(body, PATCHES).await?,
                dry,
            )?,
            _ => return Err(Status::method_not_allowed()),
        };
        let selector = scale::selector(&object);
        Ok(match self.encoding {
            Encoding::Json => self.json(200, &json::scale(&object, &selector)),
            Encoding::Protobuf => self.bytes(200, wire::scale(&object, &selector)),
        })
    }

    fn find(&self, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.shared
            .state()
            .get(namespace, name)
            .ok_or_else(|| Status::not_found(APPS, DEPLOYMENTS, name))
    }

    /// Reads a JSON body; an empty one is null.
    async fn json_body<B>(&self, body: B, accepted: &[&str]) -> Result<Value, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let content_type = self
            .parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = content_type
            .unwrap_or(accepted[0])
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if !accepted.contains(&media_type) {
            let message = format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            );
            return Err(Status::new(415, "UnsupportedMediaType", message));
        }
        let bytes = match Limited::new(body, MAX_BODY).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = format!("Request entity too large: limit is {MAX_BODY}");
                return Err(Status::new(413, "RequestEntityTooLarge", message));
            }
            Err(error) => {
                return Err(Status::bad_request(format!(
                    "unable to read the body: {error}"
                )));
            }
        };
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Status::bad_request(format!(
                "couldn't get version/kind; json parse error: {error}"
            ))
        })
    }

    fn deployment(&self, code: u16, object: &Object) -> Response<Body> {
        let managed = &self.shared.managed_fields;
        match self.encoding {
            Encoding::Json => self.json(code, &json::deployment(object, managed)),
            Encoding::Protobuf => {
                let mut raw = Vec::new();
                wire::deployment(&mut raw, object, managed);
                self.bytes(code, wire::envelope("apps/v1", "Deployment", &raw))
            }
        }
    }

    fn status(&self, status: &Status) -> Response<Body> {
        self.bytes(status.code, self.encoding.status(status))
    }

    fn bytes(&self, code: u16, bytes: Vec<u8>) -> Response<Body> {
        response(code, self.encoding.content_type(), bytes)
    }

    fn json(&self, code: u16, value: &Value) -> Response<Body> {
        let mut bytes = serde_json::to_vec(value).unwrap_or_default();
        bytes.push(b'\n');
        response(code, JSON, bytes)
    }

    /// Adds what every answer carries.
    fn finish(&self, answer: Result<Response<Body>, Status>) -> Response<Body> {
        let mut response = answer.unwrap_or_else(|status| {
            let mut response = self.status(&status);
            let seconds = status
                .details
                .map_or(0, |details| details.retry_after_seconds);
            if seconds > 0 {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            if status.code == 405 {
                response.headers_mut().insert(
                    ALLOW,
                    HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
                );
            }
            response
        });
        let nth = self.shared.answers.fetch_add(1, Ordering::Relaxed);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::from_u64_pair(1, nth).to_string()) {
            headers.insert("audit-id", id);
        }
        response
    }

    /// Breaks the body of an answer.
    async fn spoil(&self, response: Response<Body>, fault: &Fault) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let whole = |bytes: Bytes| Response::new(Body::full(bytes));
        let list = matches!(self.call, Call::List { .. } | Call::Probe);
        let mut spoilt = match fault {
            Fault::Garbage => whole(watch::GARBAGE.into()),
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

/// The patches that are understood; a strategic one is taken for a merge.
const PATCHES: &[&str] = &[
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

fn response(code: u16, content_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
