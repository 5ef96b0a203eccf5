//! One request: what it is, which faults it meets, who answers it.

mod kept;
mod spoilt;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use crate::body::Body;
use crate::cluster::Shared;
use crate::faults::{Call, Fault};
use crate::log::SeenRequest;
use crate::negotiate::{Encoding, JSON};
use crate::object::Object;
use crate::patch::{APPLY, Patch};
use crate::request::Expected;
use crate::route::{Query, Route};
use crate::serve::TransportError;
use crate::status::{APPS, DEPLOYMENTS, Status};
use crate::write::{self, Deleted};
use crate::{autoscaler, event, json, lease, list, own, review, revision, scale, watch, wire};

/// The largest body of a request.
const MAX_BODY: usize = 3 * 1024 * 1024;

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
        Some(fault) if !matches!(call, Call::Watch | Call::Autoscalers | Call::Leases) => {
            exchange.spoil(response, &fault).await
        }
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
    async fn respond<B>(&mut self, body: B, fault: Option<Fault>) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = self.shared.clone();
        let method = self.parts.method.clone();
        match (self.route.clone(), method) {
            (Route::Document(document), Method::GET) => Ok(self.json(200, &document)),
            (Route::Healthy, Method::GET) => Ok(Response::new(Body::full("ok"))),
            (Route::Namespaces, Method::GET) => Ok(self.json(200, &write::namespaces(&shared))),
            (Route::Namespaces, Method::POST) => {
                let body = self.read(body, Expected::Object("Namespace")).await?;
                Ok(self.json(
                    201,
                    &write::create_namespace(
                        &shared,
                        &body,
                        self.query.dry_run(&self.parts.method)?,
                    )?,
                ))
            }
            (Route::Namespace(name), Method::GET) => {
                Ok(self.json(200, &write::namespace(&shared, &name)?))
            }
            (Route::Namespace(name), Method::DELETE) => Ok(self.json(
                200,
                &write::delete_namespace(&shared, &name, self.query.dry_run(&self.parts.method)?)?,
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
                    fault.as_ref(),
                )
                .await
            }
            (Route::Deployments(Some(namespace)), Method::POST) => {
                let body = self.read(body, Expected::Object("Deployment")).await?;
                let object = write::create(
                    &shared,
                    &namespace,
                    &body,
                    self.query.dry_run(&self.parts.method)?,
                )?;
                Ok(self.deployment(201, &object))
            }
            (Route::Deployment(namespace, name), method) => {
                self.one_deployment(&namespace, &name, &method, body).await
            }
            (Route::Scale(namespace, name), method) => {
                self.one_scale(&namespace, &name, &method, body).await
            }
            (Route::AccessReviews, Method::POST) => {
                let body = self
                    .read(body, Expected::Object("SubjectAccessReview"))
                    .await?;
                Ok(self.json(201, &review::answer(&shared, body)?))
            }
            (Route::OwnReviews(kind), Method::POST) => {
                let body = self.read(body, Expected::Object(kind)).await?;
                Ok(self.json(201, &own::answer(&shared, kind, body)?))
            }
            (Route::Autoscalers(namespace), Method::GET) => {
                self.kept(&autoscaler::KIND, namespace.as_deref())
            }
            (Route::Leases(namespace), Method::GET) => {
                self.kept(&lease::KIND, namespace.as_deref())
            }
            (Route::Leases(Some(namespace)), Method::POST) => {
                let body = self.read(body, Expected::Object("Lease")).await?;
                let dry = self.query.dry_run(&self.parts.method)?;
                Ok(self.json(201, &lease::create(&shared, &namespace, body, dry)?))
            }
            (Route::Lease(namespace, name), method) => {
                self.one_lease(&namespace, &name, &method, body).await
            }
            (Route::ReplicaSets(namespace), Method::GET) => {
                Ok(self.json(200, &revision::list(&shared, &namespace, &self.query)?))
            }
            (Route::Events(namespace), Method::GET) => {
                Ok(self.json(200, &shared.events.list(&namespace)))
            }
            (Route::Events(namespace), Method::POST) => {
                let body = self.read(body, Expected::Object("Event")).await?;
                Ok(self.json(201, &event::create(&shared, &namespace, body)?))
            }
            (Route::Event(namespace, name), Method::PATCH) => {
                let patch = self.read_patch(body).await?;
                let event = event::patch(&shared, &namespace, &name, &patch)?;
                Ok(self.json(200, &event))
            }
            (Route::UnknownResource, _) => Err(Status::no_such_path()),
            (Route::Unknown, _) => Ok(response(
                404,
                "text/plain; charset=utf-8",
                Body::full(b"404 page not found\n".to_vec()),
            )),
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
        let options = self.write_options()?;
        let object = match *method {
            Method::GET => self.find(namespace, name)?,
            Method::PUT => write::replace(
                shared,
                namespace,
                name,
                &self.read(body, Expected::Object("Deployment")).await?,
                &options,
            )?,
            Method::PATCH => {
                let patch = self.read_patch(body).await?;
                write::patch(shared, namespace, name, &patch, &options)?
            }
            Method::DELETE => {
                let of_body = self.read(body, Expected::Options).await?;
                let dry = options.dry || of_body["dryRun"][0] == "All";
                match write::delete(shared, namespace, name, &of_body, dry)? {
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
        let options = self.write_options()?;
        let object = match *method {
            Method::GET => self.find(namespace, name)?,
            Method::PUT => scale::replace(
                shared,
                namespace,
                name,
                &self.read(body, Expected::Object("Scale")).await?,
                &options,
            )?,
            Method::PATCH => {
                let patch = self.read_patch(body).await?;
                scale::patch(shared, namespace, name, patch, &options)?
            }
            _ => return Err(Status::method_not_allowed()),
        };
        let selector = scale::selector(&object);
        Ok(match self.encoding {
            Encoding::Json => self.json(200, &json::scale(&object, &selector)),
            Encoding::Protobuf => self.bytes(200, wire::scale(&object, &selector)),
        })
    }

    fn write_options(&self) -> Result<write::Options<'_>, Status> {
        Ok(write::Options {
            dry: self.query.dry_run(&self.parts.method)?,
            manager: self.query.get("fieldManager"),
            applies: self.media_type() == APPLY,
        })
    }

    fn find(&self, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.shared
            .state()
            .get(namespace, name)
            .ok_or_else(|| Status::not_found(APPS, DEPLOYMENTS, name))
    }

    async fn read_patch<B>(&self, body: B) -> Result<Patch, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let of = Patch::of(self.media_type()).ok_or_else(Status::no_patch)?;
        Ok(of(self.read(body, Expected::Patch).await?))
    }

    fn media_type(&self) -> &str {
        let content_type = self
            .parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
    }

    async fn read<B>(&self, body: B, expected: Expected) -> Result<Value, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
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
        expected.read(self.media_type(), &bytes)
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
        response(code, self.encoding.content_type(), Body::full(bytes))
    }

    fn json(&self, code: u16, value: &Value) -> Response<Body> {
        let mut bytes = serde_json::to_vec(value).unwrap_or_default();
        bytes.push(b'\n');
        response(code, JSON, Body::full(bytes))
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
}

fn response(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
