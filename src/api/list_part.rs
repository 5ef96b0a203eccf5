//! Lists of a part: of one namespace, of what a label selector selects, page by page. One walk from a key over a snapshot.

use std::{
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use tokio::time::Instant;

use super::{
    Api, ApiError, Body,
    authorization::{self, LabelsOf, Sight},
    deployments::{
        SEARCHED_AT_ONCE, WAIT_FOR_VERSION, WAITING, accepts_gzip, aside, caught_up, gzip,
        not_modified,
    },
    headers::{self, describe},
    limits,
    list_parameters::Parameters,
    path::valid_namespace,
    preconditions,
    request::min_resource_version,
};
use crate::{
    access::{Caller, Verb},
    selector::LabelSelector,
    store::{Shown, Snapshot},
};

/// More than the JSON of any one Deployment, in bytes.
const LARGEST: usize = 400;
/// And than what the status adds to it.
const STATUS: usize = 30;

/// Answers a list of one namespace, or of all, with these parameters.
pub(super) async fn list(
    api: &Api,
    caller: &Arc<Caller>,
    namespace: Option<&str>,
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    if let Some(namespace) = namespace {
        authorization::authorize_namespace(caller, Verb::List, namespace)?;
        valid_namespace(namespace)?;
    }
    let parameters = Parameters::read(request.uri.query())?;
    let about = (namespace, parameters.selector_text());
    let wanted = min_resource_version(&request.headers)?;
    let version = |now: &Snapshot| match namespace {
        Some(namespace) => now.resource_version_in(namespace),
        None => now.resource_version(),
    };
    caught_up(api, caller, None, version).await?;
    // Who may see nothing has nobody wait, and the cluster list nothing.
    Sight::of(
        caller,
        Verb::List,
        namespace,
        &api.status.store().snapshot(),
    )
    .await?;
    let mut outdated = Duration::ZERO;
    let (from, snapshot) = match &parameters.resume {
        Some(token) => {
            let (token, snapshot, newest) = api.walks.resume(token, about)?;
            if wanted.is_some_and(|wanted| version(&snapshot) < wanted) {
                return Err(ApiError::PageExpired);
            }
            if !Arc::ptr_eq(&snapshot, &api.status.store().snapshot()) {
                outdated = newest.elapsed();
            }
            ((token.namespace, token.name), snapshot)
        }
        None => {
            if let Some(namespace) = namespace
                && api.status.store().snapshot().resource_version_in(namespace) == 0
            {
                return Err(ApiError::NoSuchNamespace(namespace.into()));
            }
            caught_up(api, caller, wanted, version).await?;
            if let Some(selector) = &parameters.selector {
                labels_read(api, caller, selector, namespace).await?;
            }
            let start = (namespace.unwrap_or_default().into(), String::new());
            (start, api.status.store().snapshot())
        }
    };
    let sight = Sight::of(caller, Verb::List, namespace, &snapshot).await?;
    let most = parameters.limit.map_or(usize::MAX, |limit| limit * LARGEST);
    let whole = match parameters.shown {
        Shown::Count => snapshot.list_len(),
        Shown::Status => snapshot.list_len() + snapshot.len() * STATUS,
    };
    let mut reserved = api.reserve(most.min(whole))?;
    let few = parameters.limit.is_some_and(|l| l <= SEARCHED_AT_ONCE);
    let short = snapshot.len() <= SEARCHED_AT_ONCE
        || few && parameters.selector.is_none() && matches!(sight, Sight::All);
    let asked = Asked {
        namespace: namespace.map(str::to_owned),
        from,
        selector: parameters.selector.clone(),
        limit: parameters.limit.unwrap_or(usize::MAX),
        shown: parameters.shown,
        resumed: parameters.resume.is_some(),
    };
    let page = if short {
        asked.page(&snapshot, &sight)?
    } else {
        let snapshot = Arc::clone(&snapshot);
        aside(api, caller, move || asked.page(&snapshot, &sight)).await??
    };
    let link = match page.next {
        None => None,
        Some(last) => {
            let (memory, by) = (&api.metrics.memory, caller.allowance.id());
            let token = api.walks.pause(memory, by, &snapshot, about, last)?.text();
            let (path, query) = (request.uri.path(), parameters.next(&token));
            Some(headers::text(format!("<{path}?{query}>; rel=\"next\"")))
        }
    };
    let tag = preconditions::list_tag(page.fingerprint);
    let age = api.status.age().max(outdated);
    let known = request.headers.contains_key(header::IF_NONE_MATCH)
        && preconditions::not_modified(&request.headers, &tag);
    let mut response = if known {
        not_modified()
    } else if accepts_gzip(&request.headers) {
        let text = page.text;
        let bytes = aside(api, caller, move || gzip(std::iter::once(text))).await?;
        reserved.shrink(bytes.len());
        let mut response = Body::respond(StatusCode::OK, Body::reserved(bytes, reserved));
        let coding = HeaderValue::from_static("gzip");
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
        response
    } else {
        reserved.shrink(page.text.len());
        Body::respond(StatusCode::OK, Body::reserved(page.text, reserved))
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(link) = link {
        headers.insert(header::LINK, link);
    }
    describe(headers, tag, version(&snapshot), age);
    Ok(response)
}

/// Waits until the labels that the selector looks at are in the store.
pub(super) async fn labels_read(
    api: &Api,
    caller: &Caller,
    selector: &LabelSelector,
    namespace: Option<&str>,
) -> Result<(), ApiError> {
    let always = &caller.rules.labels;
    let others = selector
        .keys()
        .filter(|k| always.find(k.as_bytes()).is_none());
    let learned = api.status.learned_labels();
    learned.want(caller.allowance.id(), others);
    let keys = selector.keys().collect();
    let read = |now: &Snapshot| match namespace {
        Some(namespace) => now.has_labels(namespace, &keys),
        None => now.has_labels_everywhere(&keys),
    };
    if read(&api.status.store().snapshot()) {
        return Ok(());
    }
    let _turn = Box::pin(limits::turn(api, caller)).await?;
    let _waiting = api.reserve(WAITING)?;
    let deadline = Instant::now() + WAIT_FOR_VERSION;
    if api.status.wait_patiently(deadline, read).await {
        Ok(())
    } else {
        Err(ApiError::LabelsNotRead)
    }
}

/// What one page is to have.
struct Asked {
    namespace: Option<String>,
    /// It begins after this namespace and name.
    from: (String, String),
    selector: Option<LabelSelector>,
    limit: usize,
    shown: Shown,
    /// Whether it isn't the first.
    resumed: bool,
}

struct Page {
    text: Bytes,
    fingerprint: u64,
    /// What it ends with, if that isn't the end of the list.
    next: Option<(String, String)>,
}

impl Asked {
    fn page(&self, snapshot: &Snapshot, sight: &Sight) -> Result<Page, ApiError> {
        let mut sees = sight.over(snapshot);
        let namespace = self.namespace.as_deref();
        let records = snapshot.after(&self.from.0, &self.from.1);
        let records = records.take_while(|r| namespace.is_none_or(|n| r.namespace() == n));
        let mut text = vec![b'['];
        let mut fingerprint = DefaultHasher::new();
        let (mut last, mut next, mut count) = (None, None, 0);
        for record in records {
            let selector = self.selector.as_ref();
            if selector.is_some_and(|s| !s.selects(&LabelsOf(record))) {
                continue;
            }
            match sees(&record) {
                Some(true) => {}
                Some(false) => continue,
                // A snapshot of before the policy asked for more labels never gets them.
                None if self.resumed => return Err(ApiError::PageExpired),
                None => return Err(ApiError::NotSynced),
            }
            if count == self.limit {
                next = last;
                break;
            }
            if count > 0 {
                text.push(b',');
            }
            let start = text.len();
            match self.shown {
                Shown::Count => text.extend_from_slice(&record.json()),
                Shown::Status => record.push_status_json(&mut text),
            }
            fingerprint.write(&text[start..]);
            fingerprint.write(record.uid().as_bytes());
            count += 1;
            if count == self.limit {
                last = Some((record.namespace().to_owned(), record.name().to_owned()));
            }
        }
        text.push(b']');
        // Whoever has this page still has to know whether there is another one.
        fingerprint.write_u8(next.is_some().into());
        Ok(Page {
            text: text.into(),
            fingerprint: fingerprint.finish(),
            next,
        })
    }
}
