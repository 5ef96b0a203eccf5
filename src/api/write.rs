//! Writes: what the parameters of a Deployment have in common when they are set, from the judgement of the request to the
//! answer and the log line.
//!
//! Each is a type that implements [`Parameter`] in a file of its own, and has a [`Route`](super::path::Route).

mod answer;
mod asked;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Response, request::Parts};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use asked::wish;
pub(super) use asked::{Asked, refused, writable};

use super::{
    Api, ApiError, Body, audit, authorization,
    limits::{self, Charged},
    overtaken, preconditions,
    request::dry_run,
    standing,
};
use crate::{
    access::{Caller, Decision, Verb},
    audit::Unrecorded,
    generation::Session,
    kubernetes::{Details, Told, WriteError, WriteRequest, Written},
    leases::Lease,
    telemetry::request::Ids,
};

/// A parameter of a Deployment that callers set.
pub(super) trait Parameter: Send + Sync + Sized + 'static {
    /// What a caller asks for.
    type Wish: Send + Sync;
    /// What the cluster has, before and after.
    type State: Send + Sync;
    /// What one needs the permission for.
    const VERB: Verb;
    /// Whether it is asked for without a body too.
    const BODY_OPTIONAL: bool = false;
    /// Whether it ends a lease of the count.
    const OVERTAKES: bool = false;
    /// The parameters of its query, beside `dryRun`.
    const PARAMETERS: &'static [&'static str] = &[];
    /// What it is called in error sentences.
    const NOUN: &'static str;
    /// The event of a write that is about to be sent, in the audit trail …
    const REQUESTED: &'static str;
    /// … of one that was made, or would have been, there and in the log …
    const APPLIED: &'static str;
    /// … and of one that wasn't.
    const FAILED: &'static str;
    /// The reason of the Kubernetes Event that tells of a write, unless its wish has one of its own.
    const EVENT: &'static str;
    /// What was done, before the words that tell of its rollout.
    const DONE: &'static str;
    /// The body of a 200.
    const UPDATED: &'static str;
    /// The body of a 202.
    const UPDATED_UNSEEN: &'static str;

    /// The body of a 200, where it tells more than that.
    fn updated(&self, _: &Written<Self::State>) -> Bytes {
        Bytes::from_static(Self::UPDATED.as_bytes())
    }

    /// What is wrong with the path, besides the names of namespace and Deployment.
    fn valid(&self) -> Result<(), ApiError> {
        Ok(())
    }

    /// What a body asks for.
    fn wish(&self, body: &[u8]) -> Result<Self::Wish, ApiError>;

    /// The container that it is of, if it is one's.
    fn container(&self) -> Option<&str> {
        None
    }

    /// The wish, as records have it.
    fn value(wish: &Self::Wish) -> Value;

    /// What else of the wish records have, by name.
    fn further(_: &Self::Wish) -> Option<(&'static str, Value)> {
        None
    }

    /// What else of the outcome records have, by name.
    fn outcome(&self, _: &Written<Self::State>) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// What is known of the parameter's value without asking the cluster, as records have it.
    fn known(&self, api: &Api, names: (&str, &str)) -> Value;

    /// What it was and is, as records have it.
    fn values(&self, written: &Written<Self::State>) -> (Value, Value);

    /// Whether an Event tells of it.
    fn changed(&self, written: &Written<Self::State>) -> bool {
        let (from, to) = self.values(written);
        from != to
    }

    /// What a write changed, in the Event that tells of it.
    fn told(&self, written: &Written<Self::State>) -> String {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let (from, to) = self.values(written);
        format!("{} → {}", text(from), text(to))
    }

    /// The reason of the Event that tells of a write.
    fn event(_: &Self::Wish) -> &'static str {
        Self::EVENT
    }

    /// The wish, after "set to" in a message; it has only what was validated.
    fn shown(&self, wish: &Self::Wish) -> String;

    /// Judges the write on what the cluster has, and sends it.
    fn set(
        &self,
        write: &Write<Self>,
    ) -> impl Future<Output = Result<Written<Self::State>, WriteError<ApiError>>> + Send;

    /// The entity tag that reads have after the write.
    fn tag(&self, written: &Written<Self::State>) -> String;

    /// How many Pods were changed, of those that were [charged](Write::charge).
    fn pods(&self, written: &Written<Self::State>) -> u64;

    /// What was written, for those who ask for it in JSON.
    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Self::State>,
    ) -> impl Serialize + 'a;

    /// The count that was set, if it is one that others may set too.
    fn count(&self, _: &Written<Self::State>) -> Option<i32> {
        None
    }

    /// The lease that it has ended or renewed, or would have, `known` being the one that this server knew of right before.
    fn lease_before<'a>(
        &self,
        _known: Option<&'a Lease>,
        _written: &'a Written<Self::State>,
    ) -> Option<&'a Lease> {
        None
    }

    /// Tells of a write that was applied, or would have been.
    fn log_applied(
        &self,
        write: &Write<Self>,
        written: &Written<Self::State>,
        result: &'static str,
    );

    /// Tells of a write that wasn't.
    fn log_failed(&self, failure: &Failure<'_, Self>);
}

/// Whose write it is.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) session: Arc<Session>,
    /// Who it was when the request came.
    pub(super) caller: Arc<Caller>,
    pub(super) ids: Ids,
    /// Why, if that was said, and said well.
    pub(super) reason: Result<Option<String>, ApiError>,
}

impl Origin {
    /// Why it is made, in the caller's words.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_ref().ok()?.as_deref()
    }
}

/// A write that didn't happen, for its log line.
pub(super) struct Failure<'a, P: Parameter> {
    pub(super) api: &'a Api,
    pub(super) origin: &'a Origin,
    /// Namespace and name, which may be anything and may have been cut.
    pub(super) names: (&'a str, &'a str),
    /// What was asked for, once that is known.
    pub(super) wish: Option<&'a P::Wish>,
    /// The status of the answer.
    pub(super) result: u16,
    pub(super) error: &'a str,
    /// It has only what was validated.
    pub(super) message: &'a str,
}

/// A log line about a write: the fields of every such line around the parameter's own.
macro_rules! log_write {
    ($level:ident, $event:literal, $origin:expr, ($namespace:expr, $name:expr), { $($own:tt)* }, $($message:tt)+) => {
        // The ids of the request are added to it.
        $origin.ids.within(|| tracing::$level!(name: $event, principal = %$origin.caller.name(), subject = %$origin.caller.identity.subject, serial = %$origin.caller.identity.serial,
            issuer = %$origin.caller.identity.issuer, address = %$origin.caller.address,
            namespace = %$namespace, name = %$name, $($own)*, reason = $origin.reason(), $($message)+))
    };
}
pub(super) use log_write;

/// A request to set a parameter, judged as far as its path and headers go.
pub(super) struct Incoming<'r, B> {
    pub(super) api: &'r Arc<Api>,
    pub(super) origin: Origin,
    /// Whether its caller may set it at all, and often enough.
    pub(super) admission: Result<(), ApiError>,
    pub(super) request: &'r Parts,
    pub(super) content: &'r mut B,
}

impl<B> Incoming<'_, B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Answers a request that sets something. `admission` is what was judged before the body: its refusal ends here too, so that it is logged.
    pub(super) async fn set<P: Parameter>(
        self,
        names: (&str, &str),
        parameter: P,
    ) -> Result<Response<Body>, ApiError> {
        let Self {
            api,
            origin,
            admission,
            request,
            content,
        } = self;
        let refused = |error: ApiError, wish: Option<&P::Wish>| {
            refused(api, &origin, &parameter, names, wish, error)
        };
        admission.map_err(|error| refused(error, None))?;
        let turn = limits::turn(api, &origin.caller)
            .await
            .map_err(|error| refused(error, None))?;
        let wish = wish(api, &origin, &parameter, names, request, content)
            .await
            .map_err(|error| refused(error, None))?;
        let dry_run = dry_run(request.uri.query(), P::PARAMETERS)
            .map_err(|error| refused(error, Some(&wish)))?;
        let ids = origin.ids.clone();
        let asked = Asked {
            api: Arc::clone(api),
            origin,
            names: (names.0.into(), names.1.into()),
            parameter,
            wish,
            headers: request.headers.clone(),
            dry_run,
            mark: None,
            charged: Charged::default(),
        };
        let write = asked.judged().await?;
        // A task of its own: the write goes on, and is logged, when the caller hangs up. Its turn ends with it.
        let run = async move {
            let _turn = turn;
            let outcome = write.run().await;
            (write, outcome)
        };
        let run = api.tasks.spawn(ids.clone().scope(run));
        let (write, outcome) = run.await.map_err(|_| ApiError::Panicked)?;
        let written = outcome?;
        let rollout = ids.scope(Box::pin(write.rollout(&written))).await;
        Ok(write.answer(&written, rollout.as_ref()).await)
    }
}

/// What a write of a count was judged on.
#[derive(Clone)]
pub(super) struct Judged {
    /// The Deployment's uid.
    pub(super) uid: Uuid,
    pub(super) count: i32,
    pub(super) lease: Option<Lease>,
}

/// A write that is judged on what the cluster has, sent, waited for and logged.
pub(super) struct Write<P: Parameter> {
    pub(super) api: Arc<Api>,
    pub(super) origin: Origin,
    pub(super) request: WriteRequest,
    pub(super) wish: P::Wish,
    /// Those of the caller's request: preconditions and preferences.
    pub(super) headers: HeaderMap,
    parameter: P,
    charged: Charged,
    /// The rule that allowed it, as it was judged last.
    rule: Mutex<Option<String>>,
    /// What let it be sent last.
    judged: Mutex<Option<Judged>>,
    /// Whether an earlier request has made it, which this one repeats.
    repeated: AtomicBool,
}

impl<P: Parameter> Write<P> {
    /// Whoever decides over it now, at each attempt.
    pub(super) fn caller(&self) -> Result<Arc<Caller>, ApiError> {
        let caller = self.origin.session.caller();
        standing(&caller).map(|()| caller)
    }

    /// Judges a write of the Deployment itself; one that makes its Pods `anew` can't while rollouts are held. `template` judges
    /// what would run then, once nothing that comes first stands in the way.
    pub(super) fn judge(
        &self,
        now: &Details,
        anew: bool,
        template: impl FnOnce(&Decision<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let caller = self.caller()?;
        let decision = authorization::permit(&caller, P::VERB, self.request.names(), &now.labels)?;
        self.decided(&decision);
        if now.deleting {
            return Err(ApiError::BeingDeleted);
        }
        if anew && now.paused {
            return Err(ApiError::Paused);
        }
        preconditions::unless_changed(
            &self.headers,
            || preconditions::version_tag(now.uid, now.resource_version),
            |tag| ApiError::DeploymentChanged { tag },
        )?;
        authorization::judge_change(now)?;
        template(&decision)?;
        let pods = if anew { now.replicas.max(0) } else { 0 };
        self.charge(&caller, pods.unsigned_abs().into())
    }

    /// Charges the Pods that an attempt would change to whoever sends it; the last thing that is judged.
    pub(super) fn charge(&self, caller: &Caller, pods: u64) -> Result<(), ApiError> {
        self.charged.charge(caller, pods, self.request.dry_run)
    }

    /// Remembers what decided over it.
    pub(super) fn decided(&self, decision: &Decision<'_>) {
        let rule = decision.rule().map(|rule| rule.name().to_owned());
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = rule;
    }

    /// The rule that decided over it, if one did.
    pub(super) fn rule(&self) -> Option<String> {
        let rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        rule.clone()
    }

    /// Remembers the Deployment and the count that let it be sent, and its lease as far as this server knows of one.
    pub(super) fn judged_on(&self, uid: Uuid, count: i32) {
        let (namespace, name) = self.request.names();
        let known = self.api.deployments.leases().and_then(|all| all.known());
        let lease = known.and_then(|known| Some(known.of(namespace, name)?.lease.clone()));
        let judged = Judged { uid, count, lease };
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
    }

    /// What let it be sent last, of a write of a count.
    pub(super) fn judged(&self) -> Option<Judged> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.clone()
    }

    /// Remembers that an earlier request has made it.
    pub(super) fn was_made_before(&self) {
        self.repeated.store(true, Ordering::Relaxed);
    }

    /// Whether this one repeats what an earlier request has made.
    pub(super) fn repeated(&self) -> bool {
        self.repeated.load(Ordering::Relaxed)
    }

    pub(super) fn parameter(&self) -> &P {
        &self.parameter
    }

    /// Until Kubernetes has answered and the store has seen it.
    pub(super) async fn run(&self) -> Result<Written<P::State>, ApiError> {
        // On record before it may happen: no write is made that nobody knows of.
        let outcome = match self.api.audit.before(|| self.requested()).await {
            Ok(()) => self.parameter.set(self).await,
            Err(Unrecorded) => Err(WriteError::Judged(ApiError::Unrecorded)),
        };
        match &outcome {
            Ok(_) if self.repeated() => self.charged.settle(0),
            Ok(written) => self.charged.settle(self.parameter.pods(written)),
            // It may have happened.
            Err(WriteError::Unknown(_)) => {}
            Err(_) => self.charged.settle(0),
        }
        match outcome {
            Ok(written) => {
                let result = match (self.request.dry_run, written.seen) {
                    (true, _) => "dry run",
                    _ if self.repeated() => "repeated",
                    (false, true) => "updated",
                    (false, false) => "updated, not seen yet",
                };
                self.parameter.log_applied(self, &written, result);
                self.api.audit.record(|| self.applied(&written));
                self.tell(&written);
                if P::OVERTAKES && !self.request.dry_run && !self.repeated() {
                    overtaken::end(&self.api, &self.origin, self.request.names()).await;
                }
                Ok(written)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Has an Event on the Deployment tell of a write that changed it.
    fn tell(&self, written: &Written<P::State>) {
        if self.request.dry_run || self.repeated() || !self.parameter.changed(written) {
            return;
        }
        self.api.deployments.events.tell(|| {
            let caller = &self.origin.caller;
            let who = match caller.name() {
                "" => caller.identity.subject.as_str(),
                name => name,
            };
            let what = match self.parameter.container() {
                Some(container) => format!("{container}: "),
                None => String::new(),
            };
            let why = match self.origin.reason() {
                Some(reason) => format!(" ({reason})"),
                None => String::new(),
            };
            let note = format!("{who} {what}{}{why}", self.parameter.told(written));
            Told {
                namespace: self.request.namespace.clone(),
                name: self.request.name.clone(),
                uid: written.uid,
                resource_version: written.resource_version,
                reason: P::event(&self.wish),
                note,
            }
        });
    }

    fn failed(&self, error: WriteError<ApiError>) -> ApiError {
        let WriteRequest {
            namespace, name, ..
        } = &self.request;
        // What the caller isn't told of the cluster's words stays here.
        let words = error.to_string();
        let told = ApiError::of_write(error, (namespace, name), P::NOUN);
        let detail = if told.status().is_server_error() {
            words
        } else {
            told.to_string()
        };
        let wish = self.parameter.shown(&self.wish);
        let failure = Failure {
            api: &self.api,
            origin: &self.origin,
            names: (namespace, name),
            wish: Some(&self.wish),
            result: told.status().as_u16(),
            error: &detail,
            message: &format!("Deployment {namespace}/{name} not set to {wish}"),
        };
        self.parameter.log_failed(&failure);
        self.api
            .audit
            .record(|| audit::failed(&self.parameter, &failure, self.rule()));
        told
    }
}
