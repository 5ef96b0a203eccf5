//! The catalogue of log lines: every event's type, its severities, its fields and what it means.
//!
//! `docs/events.md` is made of it, tests hold it against the sources, and the test programs' lines against it.

use super::log::Severity::{self, Debug, Error, Info, Trace, Warn};

/// A type of log lines.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// What is behind the severity in a line.
    pub name: &'static str,
    /// The severities that such lines have.
    pub severities: &'static [Severity],
    /// What has happened then.
    pub meaning: &'static str,
    fields: &'static str,
}

impl Event {
    /// The names of its fields, of which a line lacks those that nothing is known of.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.fields.split_whitespace()
    }
}

const fn event(
    name: &'static str,
    severities: &'static [Severity],
    fields: &'static str,
    meaning: &'static str,
) -> Event {
    Event {
        name,
        severities,
        meaning,
        fields,
    }
}

/// What every line has that was logged for a request, besides its own fields.
pub const OF_REQUESTS: [&str; 3] = ["request_id", "trace_id", "span_id"];

/// What every line in a file has besides.
pub const RECORD_ID: &str = "record_id";

/// The event of this type.
pub fn find(name: &str) -> Option<&'static Event> {
    EVENTS.iter().find(|event| event.name == name)
}

/// Whether the types of some events begin with these words.
pub(crate) fn any_begins_with(words: &str) -> bool {
    let mut names = EVENTS.iter().map(|event| event.name);
    names.any(|name| {
        let rest = name.strip_prefix(words);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// All of them, by type.
#[rustfmt::skip]
pub const EVENTS: &[Event] = &[
    event("access.denied", &[Warn], "principal subject serial issuer address error",
        "A read was answered with 403, since the caller has no permission for it, or with 401, since its certificate isn't accepted any more. A write's line is `scale.failed` or `image.failed`."),
    event("access.review.answered", &[Debug], "result question reason evaluation_error",
        "The cluster was asked by SubjectAccessReview whether a caller may do something, and answered."),
    event("access.review.failed", &[Warn], "error",
        "The cluster gave no answer to that question, so that the request was refused. Said once in ten seconds at most."),
    event("admin.accept.failed", &[Warn], "error",
        "The admin listener couldn't accept a connection; it goes on after a pause."),
    event("audit.checkpoint", &[Info], "chain count head file",
        "How far the audit trail has come: `headcount audit verify --log` compares it with the trail."),
    event("audit.failed", &[Error], "error file policy count",
        "The audit trail can't be written. With the policy `closed`, writes are refused until it can."),
    event("audit.file.changed", &[Warn], "file count",
        "Somebody else wrote to the audit file, or cut it."),
    event("audit.file.damaged", &[Warn], "file error",
        "Nothing can follow on the audit file: it was put aside under this name, and another one is begun (policy `open`)."),
    event("audit.file.removed", &[Info], "file",
        "The oldest of the rotated audit files was removed, as `keep` has it."),
    event("audit.file.replaced", &[Warn], "file count",
        "Somebody moved the audit file away, or removed it: another one goes on."),
    event("audit.file.rotated", &[Info], "file count",
        "The audit file was full and got this name: another one goes on."),
    event("audit.lost", &[Error], "records",
        "There was no room for records while the audit trail couldn't be written. Said once in five seconds at most."),
    event("audit.recovered", &[Info], "file seconds count",
        "The audit trail is written again."),
    event("audit.rotation.failed", &[Warn], "error file",
        "The audit file can't be rotated and grows on, or old ones can't be removed."),
    event("audit.started", &[Info], "file chain count",
        "The audit trail goes on after so many records."),
    event("config.deprecated", &[Warn], "key replacement removed_in line",
        "The configuration file has a key by its old name, which works until a version: `headcount config migrate` rewrites it."),
    event("config.invalid", &[Error], "",
        "Nothing was started: the command line, the environment, the configuration file or a file that it names can't be used. The message says which and why."),
    event("image.applied", &[Info], "principal subject serial issuer address namespace name container from to result resource_version reason",
        "A container's image was set, or would have been: see `result`."),
    event("image.failed", &[Warn], "principal subject serial issuer address namespace name container from to result error reason",
        "A container's image was not set."),
    event("informer.connection.lost", &[Warn], "namespace error retry_in",
        "A list or watch failed: the copy is not kept current until `informer.connection.restored` or `informer.synced`."),
    event("informer.connection.restored", &[Info], "namespace",
        "The watch goes on where it ended: the copy is current again."),
    event("informer.deployment.added", &[Info], "namespace name replicas resource_version",
        "A Deployment is new in the copy."),
    event("informer.deployment.changed", &[Info], "namespace name from to resource_version",
        "A Deployment's count changed in the cluster, by whomever."),
    event("informer.deployment.deleted", &[Info], "namespace name replicas",
        "A Deployment is gone."),
    event("informer.deployment.touched", &[Debug], "namespace name resource_version",
        "A Deployment changed, but its count didn't."),
    event("informer.object.skipped", &[Warn], "namespace error",
        "An object couldn't be read and is left out of the copy."),
    event("informer.probe.failed", &[Warn], "error",
        "The Kubernetes API didn't answer the probe that is sent every three seconds."),
    event("informer.probe.succeeded", &[Info], "",
        "The Kubernetes API answers the probe again."),
    event("informer.relist", &[Info], "namespace reason",
        "All Deployments are listed anew; what is served stays until the list is complete."),
    event("informer.restore.detected", &[Warn], "known found",
        "The cluster is at an older version than before, as after the restore of a backup: the copy starts over."),
    event("informer.synced", &[Info], "namespace count seconds resource_version",
        "A list is complete and in force: the copy is current."),
    event("informer.watch.error", &[Warn], "namespace code reason error",
        "The API server ended a watch with an error."),
    event("informer.watch.opened", &[Debug], "namespace resource_version",
        "A watch began, as it does every 22 s."),
    event("kubernetes.circuit.closed", &[Info], "seconds",
        "The Kubernetes API answers again: writes are sent."),
    event("kubernetes.circuit.opened", &[Warn], "error",
        "The Kubernetes API doesn't answer: writes are refused at once with 503 until it does."),
    event("kubernetes.credentials.read", &[Info], "reason",
        "Credentials and CAs for the Kubernetes API were read again, after a 401 or a failed handshake."),
    event("kubernetes.credentials.unreadable", &[Warn], "error reason",
        "They couldn't be read: those before stay in use."),
    event("kubernetes.event.failed", &[Warn], "namespace name error",
        "An Event that was to tell of a write can't be sent. Said once a minute at most."),
    event("kubernetes.write.resolved", &[Info], "namespace name error resource_version",
        "A write got no answer, and reading the Deployment showed that it has what was asked for."),
    event("library.event", &[Error, Warn, Info, Debug, Trace], "target details",
        "A library's own line; off unless `logging.levels` has `library`, or `logging.level` is `trace`."),
    event("limit.reached", &[Warn, Debug], "limit principal address others",
        "A limit of `limits` was reached by somebody. Said once a second for each limit, with how often it happened besides in `others`; `IdleTime` is Debug."),
    event("log.levels.applied", &[Info], "levels",
        "A reload changed how much is logged."),
    event("log.lines.dropped", &[Warn], "output count",
        "An output takes lines again after some were dropped, because it had failed or was stuck."),
    event("log.repeated", &[Error, Warn, Info, Debug, Trace], "repeated count seconds principal subject reason address namespace error",
        "So many lines of the type `repeated` were left out, each equal to ten before them but for ports, ids and times. It has their severity and those of their fields that are listed here."),
    event("log.rotation.failed", &[Warn], "path error",
        "The log file can't be renamed: it grows beyond its size rather than lose lines."),
    event("log.write.failed", &[Warn], "output error",
        "An output doesn't take lines: they are dropped and counted until it does."),
    event("process.panicked", &[Error], "place error",
        "A defect of this program. A request that met it was answered with 500 (see `request.panicked`), and the others go on."),
    event("reload.applied", &[Info], "generation",
        "Changed files are in force."),
    event("reload.failed", &[Warn], "error generation",
        "Changed files can't be put in force: what was in force before them stays."),
    event("reload.restart.needed", &[Warn], "settings",
        "Settings were changed that only a start puts in force."),
    event("reload.watch.failed", &[Warn], "error",
        "The files' folders can't be watched: they are looked at every two seconds."),
    event("reload.withdrawn", &[Info], "",
        "Files that couldn't be put in force are again what is in force."),
    event("request.panicked", &[Error], "principal address method path",
        "A request met a defect of this program and was answered with 500; `process.panicked` before it says where."),
    event("scale.applied", &[Info], "principal subject serial issuer address namespace name from to result resource_version reason",
        "A replica count was set, or would have been: see `result`."),
    event("scale.failed", &[Warn], "principal subject serial issuer address namespace name from to result error reason",
        "A replica count was not set."),
    event("server.accept.failed", &[Warn], "error",
        "A connection couldn't be accepted; the listener goes on after a pause."),
    event("server.closing", &[Info], "connections writes",
        "A shutdown lets nobody new in, and finishes what is under way."),
    event("server.connection.cut", &[Debug], "reason principal address",
        "A connection was ended because of a limit."),
    event("server.connection.failed", &[Debug], "error",
        "A connection ended with an error."),
    event("server.core_dumps.possible", &[Warn], "error",
        "A crash may write this process's memory, with its private key, to a file."),
    event("server.descriptors.few", &[Warn], "connections wanted",
        "There can be fewer connections than `limits.connections.total`, for want of file descriptors."),
    event("server.drain.cut", &[Warn], "connections writes",
        "A shutdown took too long: what was still under way was cut."),
    event("server.draining", &[Info], "connections writes seconds",
        "A shutdown began: the server isn't ready any more, and serves a while longer."),
    event("server.failed", &[Error], "",
        "The server couldn't start or go on. The message says why."),
    event("server.listening", &[Info], "address admin_address cluster",
        "The server listens."),
    event("server.socket.unbounded", &[Warn], "error",
        "The kernel doesn't bound what it keeps of answers to slow readers."),
    event("server.stopped", &[Info], "",
        "The last line of a shutdown."),
    event("tls.ca.unusable", &[Warn], "subject reason",
        "A client CA of the configuration can vouch for nobody."),
    event("tls.client.accepted", &[Info], "principal subject serial issuer address",
        "A client was let in."),
    event("tls.client.dismissed", &[Warn], "principal subject serial issuer address reason error",
        "A client that was let in isn't any more: its certificate expired, or a reload took its rights away."),
    event("tls.client.left", &[Debug], "address",
        "A peer closed the connection before it sent anything."),
    event("tls.client.refused", &[Warn, Info], "reason subject serial issuer names address error",
        "A client was not let in; docs/tls.md explains each `reason`. It is Info where the peer didn't even try TLS."),
    event("tls.crl.expired", &[Warn], "path",
        "A revocation list has expired, and the clients of its CA are refused."),
    event("tls.crl.foreign", &[Warn], "path",
        "A revocation list is signed by none of the client CAs."),
    event("tls.crl.future", &[Warn], "path",
        "A revocation list isn't valid yet."),
    event("tls.crl.intermediate", &[Info], "path",
        "A revocation list counts for an intermediate CA."),
    event("tls.deny_list.unknown_issuer", &[Warn], "issuer serials",
        "The deny list has serial numbers of an issuer that is no client CA."),
    event("tls.expired", &[Warn], "kind subject valid_until",
        "A certificate, CA or revocation list in use has expired."),
    event("tls.expiring", &[Warn], "kind subject valid_until",
        "One is in the last fifth of its lifetime. Said once a day."),
    event("tls.key.exposed", &[Warn], "path",
        "Everyone on the machine can read the private key."),
];

/// All names of fields, and what is in them.
#[rustfmt::skip]
pub const FIELDS: &[(&str, &str)] = &[
    ("address", "Where a peer connects from, or where the server listens: IP address and port; in `limit.reached` and `log.repeated` the IP address alone."),
    ("admin_address", "Where the admin listener is."),
    ("chain", "Which chain of the audit trail; another one is begun with a new trail."),
    ("cluster", "The URL of the Kubernetes API."),
    ("code", "The HTTP status that the API server's error has."),
    ("connections", "A number of connections: those that are open, or that there can be."),
    ("container", "The container's name."),
    ("count", "How many: Deployments that were listed, lines that were dropped or left out, records of the audit trail."),
    ("details", "A library's fields."),
    ("error", "What went wrong, in words of whoever noticed it."),
    ("evaluation_error", "What the cluster says went wrong while it decided."),
    ("file", "An audit file."),
    ("found", "The cluster's resourceVersion."),
    ("from", "The count or image before; absent where it isn't known."),
    ("generation", "The number of the set of files in force, counted from 1 at the start."),
    ("head", "The hash of the audit trail's last record."),
    ("issuer", "The issuer of the client's certificate."),
    ("key", "The deprecated key of the configuration file."),
    ("kind", "What expires: server, client_ca, crl or client."),
    ("known", "The resourceVersion that the copy is at."),
    ("levels", "The least severity in general, then those of some events."),
    ("limit", "The limit's name; docs/limits.md explains each."),
    ("line", "The line of the configuration file on which it stands."),
    ("method", "The HTTP method."),
    ("name", "The Deployment's name."),
    ("names", "The subject alternative names of the client's certificate."),
    ("namespace", "The Deployment's namespace, or the one that is listed and watched; `all` for all."),
    ("others", "How often the limit was reached without a line since the last one."),
    ("output", "`stderr` or `file`."),
    ("path", "A file, or a request's path."),
    ("place", "Where in the source: file, line, column."),
    ("policy", "What becomes of writes while the audit trail can't be written: `closed` or `open`."),
    ("principal", "Whom the client's certificate names."),
    ("question", "The SubjectAccessReview as it was sent."),
    ("reason", "Why: a name from a fixed list, the cluster's words, or the caller's (`X-Reason`)."),
    ("record_id", "In files alone: an id that no other line ever has: `PROCESS-NUMBER`, where the numbers of a process begin with 1."),
    ("records", "How many records of the audit trail were lost."),
    ("removed_in", "The version that has it no more."),
    ("repeated", "The type of the lines that were left out."),
    ("replacement", "The key to use in its place."),
    ("replicas", "The count."),
    ("request_id", "The request's id: the caller's `X-Request-Id`, or one that was made, as in the answer."),
    ("resource_version", "The resourceVersion in Kubernetes."),
    ("result", "Of a write: `updated`, `updated, not seen yet`, `dry run`, or the status of the answer. Of a question: `allowed` or `denied`."),
    ("retry_in", "How long until the next try, in seconds."),
    ("seconds", "How long it took or takes, in seconds."),
    ("serial", "The serial number of the client's certificate, in hexadecimal digits."),
    ("serials", "How many serial numbers."),
    ("settings", "The names of settings."),
    ("span_id", "This server's span in the trace, by which Kubernetes is called too."),
    ("subject", "The subject of a certificate."),
    ("target", "The module of a library."),
    ("to", "The count or image after, or the one asked for."),
    ("trace_id", "The trace: that of the caller's `traceparent`, or a new one."),
    ("valid_until", "When it expires or did."),
    ("wanted", "How many connections `limits.connections.total` allows."),
    ("writes", "How many writes are under way."),
];

#[cfg(test)]
mod tests;
