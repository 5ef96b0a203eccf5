//! Lists: which version of the cluster they show, page by page, and how a page is sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::cluster::Shared;
use crate::faults::Fault;
use crate::json;
use crate::negotiate::Encoding;
use crate::object::Object;
use crate::route::Query;
use crate::selector::Selector;
use crate::state::Scope;
use crate::status::{Causes, Status};
use crate::wire;

/// How long a list waits for a version that isn't there yet.
const FRESHNESS: Duration = Duration::from_secs(3);
/// About how many bytes make one frame of a page.
const FRAME: usize = 16 * 1024;

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to retrieve \
    the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that \
    were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
const LIST_EXPIRED: &str = "The resourceVersion for the provided list is too old.";

/// A continue token: kube-apiserver's fields, and what this simulation remembers besides.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Token {
    v: String,
    /// The version that all pages show; -1 to go on at the present one.
    rv: i64,
    /// The last key that was sent and a NUL, which is the next possible key.
    start: String,
    epoch: u64,
    /// How many objects were sent so far.
    sent: usize,
    /// Which page comes next.
    pub(crate) page: u32,
}

impl Token {
    pub(crate) fn decode(token: &str) -> Result<Self, Status> {
        let invalid = |why: String| {
            Status::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            ))
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| invalid("illegal base64 data".to_owned()))?;
        let token: Self =
            serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(invalid(format!(
                "server does not recognize this encoded version {}",
                token.v
            )));
        }
        Ok(token)
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn after(&self) -> &str {
        self.start.trim_end_matches('\0')
    }
}

/// A list request.
struct Request {
    limit: Option<usize>,
    token: Option<Token>,
    version: Version,
    selector: Selector,
}

/// Which version of the cluster a list asks for.
#[derive(Clone, Copy)]
enum Version {
    Latest,
    Any,
    NotOlderThan(u64),
    Exactly(u64),
}

impl Request {
    fn parse(query: &Query) -> Result<Self, Status> {
        let limit = query
            .number("limit")?
            .and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| *limit > 0);
        query.number("timeoutSeconds")?;
        let requested = query
            .version()
            .map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
        let matching = query.get("resourceVersionMatch");
        let token = match query.get("continue") {
            "" => None,
            token => Some(Token::decode(token)?),
        };
        let mut wrong = Causes::default();
        if !matching.is_empty() {
            let field = "resourceVersionMatch";
            if requested.is_none() {
                wrong.forbidden(
                    field,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if token.is_some() {
                wrong.forbidden(
                    field,
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                wrong.unsupported(field, matching, "\"Exact\", \"NotOlderThan\", \"\"");
            }
            if matching == "Exact" && requested == Some(0) {
                wrong.forbidden(
                    field,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
        if !query.get("sendInitialEvents").is_empty() {
            wrong.forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            );
        }
        wrong.check("meta.k8s.io", "ListOptions", "")?;
        let version = match (requested, matching) {
            (None, _) => Version::Latest,
            (Some(0), _) => Version::Any,
            (Some(v), "Exact") => Version::Exactly(v),
            // Without a match a limit makes the version exact, as it was before there was a choice.
            (Some(v), "") if limit.is_some() => Version::Exactly(v),
            (Some(v), _) => Version::NotOlderThan(v),
        };
        if token.is_some() && matches!(version, Version::Exactly(_) | Version::NotOlderThan(_)) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let selector = Selector::parse(query.get("labelSelector"), query.get("fieldSelector"))?;
        // Everything comes at once from the cache, whatever the limit says.
        let limit = limit.filter(|_| !matches!(version, Version::Any) || token.is_some());
        Ok(Self {
            limit,
            token,
            version,
            selector,
        })
    }
}

/// What a page shows.
struct Shown {
    version: u64,
    continue_token: String,
    remaining: Option<usize>,
    objects: Vec<Arc<Object>>,
}

/// Answers a list, with the fault that it meets: `BadObject`, `Behind`, `NoLastPage`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    namespace: Option<&str>,
    query: &Query,
    encoding: Encoding,
    fault: Option<&Fault>,
) -> Result<Response<Body>, Status> {
    let bad_first = fault == Some(&Fault::BadObject);
    let request = Request::parse(query)?;
    if let (None, Version::NotOlderThan(version) | Version::Exactly(version)) =
        (&request.token, request.version)
    {
        reached(shared, version).await?;
    }
    let behind = match fault {
        Some(Fault::Behind { at }) => *at,
        _ => u64::MAX,
    };
    let mut shown = show(shared, &Scope::new(namespace), &request, behind)?;
    if let Some(object) = shown.objects.first().filter(|_| bad_first) {
        shared.log.lose(object, shown.version, false);
    }
    if fault == Some(&Fault::NoLastPage) && shown.continue_token.is_empty() {
        let first = Token {
            v: "meta.k8s.io/v1".to_owned(),
            rv: shown.version as i64,
            start: String::new(),
            epoch: shared.state().token_epoch,
            sent: 0,
            page: 2,
        };
        shown.continue_token = first.encode();
    }
    let mut response = Response::new(stream(shared, shown, encoding, bad_first));
    response.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static(encoding.content_type()),
    );
    Ok(response)
}

/// Waits until the cluster is at this version, or says that it won't be.
pub(crate) async fn reached(shared: &Shared, version: u64) -> Result<(), Status> {
    let mut changed = shared.changed.subscribe();
    let wait = async {
        while shared.seen_version() < version {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    match tokio::time::timeout(FRESHNESS, wait).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Status::too_large(version, shared.seen_version())),
    }
}

/// What a list shows, if nothing newer than `behind` is known.
fn show(shared: &Shared, scope: &Scope, request: &Request, behind: u64) -> Result<Shown, Status> {
    let seen = shared.seen_version();
    let mut state = shared.state();
    let (version, after, sent, page) = match &request.token {
        None => {
            let version = match request.version {
                Version::Latest => behind.min(state.version),
                Version::Any | Version::NotOlderThan(_) => seen.min(state.version),
                Version::Exactly(version) => version,
            };
            (version, None, 0, 1)
        }
        Some(token) if token.rv < 0 => (state.version, Some(token.after()), token.sent, token.page),
        Some(token) => {
            let version = token.rv.unsigned_abs();
            if version > state.version {
                return Err(Status::new(
                    500,
                    "",
                    "etcdserver: mvcc: required revision is a future revision",
                ));
            }
            if token.epoch < state.token_epoch {
                return Err(expired(Some(token)));
            }
            (version, Some(token.after()), token.sent, token.page)
        }
    };
    let matches = |object: &Object| request.selector.matches(object);
    let found = state.page_at(version, scope, after, request.limit, matches);
    let found = found.ok_or_else(|| expired(request.token.as_ref()))?;
    let sent = sent + found.objects.len();
    let mut shown = Shown {
        version,
        continue_token: String::new(),
        remaining: None,
        objects: found.objects,
    };
    if let Some(last) = found.last {
        let token = Token {
            v: "meta.k8s.io/v1".to_owned(),
            rv: version as i64,
            start: format!("{last}\0"),
            epoch: state.token_epoch,
            sent,
            page: page + 1,
        };
        shown.continue_token = token.encode();
        // Kubernetes doesn't count what a selector would have to be tried on.
        if request.selector.is_empty() {
            shown.remaining = state
                .count_at(version, scope)
                .map(|count| count.saturating_sub(sent));
        }
    }
    Ok(shown)
}

/// Too old; a list in the middle may go on from where it is, at the present version.
pub(crate) fn expired(token: Option<&Token>) -> Status {
    let Some(token) = token else {
        return Status::expired(LIST_EXPIRED);
    };
    let inconsistent = Token {
        v: token.v.clone(),
        rv: -1,
        start: token.start.clone(),
        epoch: token.epoch,
        sent: token.sent,
        page: token.page,
    };
    Status {
        continue_token: Some(inconsistent.encode()),
        ..Status::expired(CONTINUE_EXPIRED)
    }
}

/// One object of a list in JSON: without `kind` and `apiVersion`, which the list says for all.
fn json_item(shared: &Shared, object: &Object) -> Vec<u8> {
    let mut value = json::deployment(object, &shared.managed_fields);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    serde_json::to_vec(&value).unwrap_or_default()
}

fn stream(shared: &Arc<Shared>, shown: Shown, encoding: Encoding, bad_first: bool) -> Body {
    let Shown {
        version,
        continue_token,
        remaining,
        objects,
    } = shown;
    let head = match encoding {
        Encoding::Json => {
            let mut metadata = serde_json::json!({ "resourceVersion": version.to_string() });
            if !continue_token.is_empty() {
                metadata["continue"] = continue_token.into();
            }
            if let Some(remaining) = remaining {
                metadata["remainingItemCount"] = remaining.into();
            }
            let head = "{\"kind\":\"DeploymentList\",\"apiVersion\":\"apps/v1\",\"metadata\":";
            format!("{head}{metadata},\"items\":[").into_bytes()
        }
        Encoding::Protobuf => {
            let meta = wire::list_meta(version, &continue_token, remaining);
            // The envelope says first how long all of it is.
            let items: usize = objects
                .iter()
                .enumerate()
                .map(|(at, object)| wire::field_len(item_len(shared, object, bad_first && at == 0)))
                .sum();
            let mut head = wire::envelope_start("apps/v1", "DeploymentList", meta.len() + items);
            head.extend_from_slice(&meta);
            head
        }
    };
    let pieces = Pieces {
        shared: shared.clone(),
        encoding,
        bad_first,
        head: Some(head),
        objects: objects.into(),
        at: 0,
        done: false,
    };
    Body::stream(futures_util::stream::iter(pieces.map(Ok)))
}

/// A page that says that it is longer than anything: its head, and some items that come again and again.
pub(crate) fn endless(shared: &Shared) -> (Vec<u8>, Vec<u8>) {
    let version = shared.seen_version();
    let mut head = wire::envelope_start("apps/v1", "DeploymentList", usize::MAX);
    head.extend_from_slice(&wire::list_meta(version, "", None));
    let found = shared
        .state()
        .page_at(version, &Scope::new(None), None, Some(20), |_| true);
    let mut items = Vec::new();
    for object in found.map(|found| found.objects).unwrap_or_default() {
        wire::item_start(&mut items, item_len(shared, &object, false));
        wire::deployment(&mut items, &object, &shared.managed_fields);
    }
    (head, items)
}

fn item_len(shared: &Shared, object: &Object, bad: bool) -> usize {
    if bad {
        return wire::BAD_DEPLOYMENT.len();
    }
    object.encoded_len.get_or_measure(|| {
        let mut scratch = Vec::with_capacity(2048);
        wire::deployment(&mut scratch, object, &shared.managed_fields);
        scratch.len()
    })
}

/// A page, encoded as it is sent.
struct Pieces {
    shared: Arc<Shared>,
    encoding: Encoding,
    bad_first: bool,
    head: Option<Vec<u8>>,
    objects: VecDeque<Arc<Object>>,
    at: usize,
    done: bool,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        // The head alone first: a client may read the continue token before the items.
        if let Some(head) = self.head.take() {
            return Some(head.into());
        }
        if self.done {
            return None;
        }
        let mut out = Vec::with_capacity(FRAME + 4096);
        while out.len() < FRAME {
            let Some(object) = self.objects.pop_front() else {
                self.done = true;
                match self.encoding {
                    Encoding::Json => out.extend_from_slice(b"]}\n"),
                    Encoding::Protobuf => out.extend_from_slice(wire::ENVELOPE_END),
                }
                break;
            };
            let bad = self.bad_first && self.at == 0;
            match self.encoding {
                Encoding::Json => {
                    if self.at > 0 {
                        out.push(b',');
                    }
                    if bad {
                        out.extend_from_slice(BAD_JSON);
                    } else {
                        out.extend_from_slice(&json_item(&self.shared, &object));
                    }
                }
                Encoding::Protobuf => {
                    wire::item_start(&mut out, item_len(&self.shared, &object, bad));
                    if bad {
                        out.extend_from_slice(wire::BAD_DEPLOYMENT);
                    } else {
                        wire::deployment(&mut out, &object, &self.shared.managed_fields);
                    }
                }
            }
            self.at += 1;
        }
        Some(out.into())
    }
}

/// JSON that is no Deployment: the name is a number.
pub(crate) const BAD_JSON: &[u8] = br#"{"metadata":{"name":7,"namespace":[]},"spec":"none"}"#;
