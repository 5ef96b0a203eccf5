//! What of requests is audited: every write, before it is sent and when its outcome is known, and every denial.

use http::request::Parts;

use super::{
    Api, ApiError, authorization,
    path::Route,
    write::{Failure, Origin, Parameter, Write},
};
use crate::{
    access::{Authorization, Caller, Verb},
    audit::{Record, Refused},
    generation::Session,
    kubernetes::Written,
    telemetry::request::Ids,
};

/// A record of a request, with whose it is.
fn record(event: &'static str, session: &Session, caller: &Caller, ids: &Ids) -> Record {
    let record = Record::of(event).by(caller, &session.names());
    ids.named()
        .into_iter()
        .fold(record, |record, (name, id)| record.with(name, id))
        .with("authorization", mode(caller))
}

fn mode(caller: &Caller) -> &'static str {
    match caller.rules.authorization {
        Authorization::Any(_) => "any",
        Authorization::Policy(_) => "policy",
        Authorization::Kubernetes(_) => "kubernetes",
    }
}

/// A record of a write, but for what became of it.
fn of_write<P: Parameter>(
    event: &'static str,
    parameter: &P,
    origin: &Origin,
    (namespace, name): (&str, &str),
) -> Record {
    let Origin {
        session,
        caller,
        ids,
        ..
    } = origin;
    record(event, session, caller, ids)
        .with("reason", origin.reason())
        .with("verb", P::VERB.as_str())
        .with("namespace", namespace)
        .with("name", name)
        .with("container", parameter.container())
}

/// What a status says became of a write.
fn result(status: u16) -> &'static str {
    match status {
        401 | 403 => "denied",
        504 => "unknown",
        400..500 => "refused",
        _ => "failed",
    }
}

impl<P: Parameter> Write<P> {
    /// A record of the write, before anything is sent.
    pub(super) fn requested(&self) -> Record {
        let names = self.request.names();
        of_write(P::REQUESTED, self.parameter(), &self.origin, names)
            .with("from", self.parameter().known(&self.api, names))
            .with("to", P::value(&self.wish))
            .and(P::further(&self.wish))
            .with("dry_run", self.request.dry_run)
    }

    /// A record of what was written.
    pub(super) fn applied(&self, written: &Written<P::State>) -> Record {
        let (from, to) = self.parameter().values(written);
        let (result, status) = match (self.request.dry_run, written.seen) {
            (true, _) => ("dry run", 200),
            (false, true) => ("applied", 200),
            (false, false) => ("applied", 202),
        };
        let result = if self.repeated() && !self.request.dry_run {
            "repeated"
        } else {
            result
        };
        let names = self.request.names();
        let record = of_write(P::APPLIED, self.parameter(), &self.origin, names)
            .with("from", from)
            .with("to", to)
            .and(P::further(&self.wish));
        let more = self.parameter().outcome(written).into_iter();
        more.fold(record, |record, (name, value)| record.with(name, value))
            .with("result", result)
            .with("status", status)
            .with("resource_version", written.resource_version)
            .with("rule", self.rule())
    }
}

/// A record of a write that wasn't made, or nobody knows whether it was; `rule`: the one that decided over it.
pub(super) fn failed<P: Parameter>(
    parameter: &P,
    failure: &Failure<'_, P>,
    rule: Option<String>,
) -> Record {
    let rule = rule.or_else(|| {
        let names = failure.names;
        authorization::rule(failure.api, &failure.origin.caller, P::VERB, names)
    });
    of_write(P::FAILED, parameter, failure.origin, failure.names)
        .with("from", parameter.known(failure.api, failure.names))
        .with("to", failure.wish.map(P::value))
        .and(failure.wish.and_then(P::further))
        .with("result", result(failure.result))
        .with("status", failure.result)
        .with("error", failure.error)
        .with("rule", rule)
}

/// A record of a batch that was refused as a whole.
pub(super) fn batch_refused(origin: &Origin, error: &ApiError) -> Record {
    let Origin {
        session,
        caller,
        ids,
        ..
    } = origin;
    let status = error.status().as_u16();
    record("batch.refused", session, caller, ids)
        .with("reason", origin.reason())
        .with("verb", Verb::Scale.as_str())
        .with("result", result(status))
        .with("status", status)
        .with("error", error.logged())
}

impl Api {
    /// Has it recorded that a request other than a write was denied.
    #[cold]
    pub(super) fn audit_denied(
        &self,
        session: &Session,
        ids: &Ids,
        request: &Parts,
        error: &ApiError,
    ) {
        self.audit.refused(Refused::Request, || {
            let caller = session.caller();
            let route = Route::of(request.uri.path());
            let verb = route.as_ref().and_then(|route| route.verb(&request.method));
            let verb = verb.unwrap_or(Verb::Get);
            let names = route.as_ref().and_then(Route::names);
            let rule = names.and_then(|names| authorization::rule(self, &caller, verb, names));
            record("access.denied", session, &caller, ids)
                .with("verb", verb.as_str())
                .with(
                    "path",
                    route.as_ref().map(|route| route.template().as_str()),
                )
                .with("namespace", names.map(|names| names.0))
                .with("name", names.map(|names| names.1))
                .with("result", "denied")
                .with("status", error.status().as_u16())
                .with("error", error.logged())
                .with("rule", rule)
        });
    }
}
