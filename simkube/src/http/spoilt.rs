//! What faults make of answers: another status, or a broken body.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Response};
use http_body_util::BodyExt as _;

use super::Exchange;
use crate::body::{Body, broken};
use crate::faults::{Call, Fault};
use crate::list::{BAD_JSON, Token};
use crate::negotiate::Encoding;
use crate::route::Route;
use crate::status::{APPS, Status};
use crate::{autoscaler, lease, list, review, watch, wire};

impl Exchange {
    /// The status with which a fault answers this request, if it is one that answers.
    pub(super) fn refusal(&self, fault: &Fault) -> Option<Status> {
        let (resource, name, namespace) = self.route.subject();
        let group = match resource {
            "namespaces" | "events" => "",
            _ if resource == autoscaler::KIND.resource => autoscaler::KIND.group,
            _ if resource == lease::KIND.resource => lease::KIND.group,
            "subjectaccessreviews" | "selfsubjectaccessreviews" | "selfsubjectrulesreviews" => {
                review::GROUP
            }
            _ => APPS,
        };
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
            Fault::TooLargeVersion => {
                let asked = self.query.version().ok().flatten().unwrap_or_default();
                Status::too_large(asked, asked.saturating_sub(1))
            }
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
            (Call::Get, _) if matches!(self.route, Route::Deployments(_)) => "list",
            (Call::Autoscalers | Call::Leases, _) if self.query.flag("watch") => "watch",
            (Call::Leases, _) if matches!(self.route, Route::Lease(..)) => "get",
            (Call::Autoscalers | Call::Leases, _) => "list",
            (_, &Method::POST) => "create",
            (_, &Method::PUT) => "update",
            (_, &Method::PATCH) => "patch",
            (_, &Method::DELETE) => "delete",
            _ => "get",
        }
    }

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
