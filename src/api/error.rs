//! Every way in which a request fails: its status, its sentence, and nothing that the caller may not know.

mod answer;
mod cause;

use std::time::Duration;

use crate::access::{BoundsViolation, ImageViolation};
use crate::limits::{Limit, NoTurn, Rate};

/// How soon to come back when nobody said otherwise.
pub(super) const COME_BACK: Duration = Duration::from_secs(3);

/// A failure as its caller is told of it. `Display` is the sentence in `{"error": …}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 400
    #[error("{0}")]
    BadRequest(String),
    /// 400, with what the body has in its place: the caller may see that, the log may not.
    #[error(
        "the body must be exactly one JSON object {{\"replicaCount\": N}} with N a whole number from 0 to 2147483647{0}"
    )]
    BadBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object {{\"image\": \"…\"}} with a reference to an image, such as example.org/shop:1.2{0}"
    )]
    BadImageBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object {{\"paused\": true}} or {{\"paused\": false}}{0}"
    )]
    BadPausedBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object {{\"delta\": N}} with N a whole number, such as 2 or -1{0}"
    )]
    BadStepBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object, {{\"items\": [{{\"namespace\": \"…\", \"name\": \"…\", \"replicaCount\": N}}, …]}} or {{\"labelSelector\": \"…\", \"replicaCount\": N}}, the latter with a \"namespace\" or without; either may have \"durationSeconds\", for leases{0}"
    )]
    BadBatchBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object, the \"snapshot\" that a batch was answered with{0}"
    )]
    BadSnapshotBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object {{\"replicaCount\": N, \"durationSeconds\": S}} with N a whole number from 0 to 2147483647 and S a whole number of seconds{0}"
    )]
    BadLeaseBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error(
        "the body must be exactly one JSON object {{\"durationSeconds\": S}} with S a whole number of seconds from now on{0}"
    )]
    BadExtensionBody(String),
    /// 400, as for [`ApiError::BadBody`].
    #[error("the body must be empty or exactly one JSON object, {0}")]
    BadOptionalBody(String),
    /// 401
    #[error(
        "the client certificate has expired since the connection was opened: renew it and connect again"
    )]
    CertificateExpired,
    /// 401
    #[error(
        "the client certificate isn't accepted any more ({reason}): connect again with one that is, or ask whoever runs this server"
    )]
    CertificateRefused {
        /// The reason's name, as the log has it.
        reason: &'static str,
    },
    /// 403
    #[error("{0}")]
    Forbidden(String),
    /// 403
    #[error(
        "a browser sent this for another site's page ({origin}): what is written comes from this server's own pages, or from a program that is no browser"
    )]
    CrossSite {
        /// Where the page is from, as the browser says.
        origin: String,
    },
    /// 404
    #[error(
        "there is no such path; the paths are /api/v1/deployments, /api/v1/batches, /api/v1/batches/restore, /api/v1/health, /api/v1/whoami, /api/v1/history, /api/v1/leases, /api/v1/openapi.json, /api/v1/docs, /api/v1/namespaces/{{namespace}}/deployments, its /{{name}} and, below that: /replicas, /lease, /containers, /containers/{{container}}/image, /restart, /paused and /rollback"
    )]
    NoSuchPath,
    /// 404
    #[error(
        "no Deployment {name:?} in namespace {namespace:?} is managed by this server: check both names, and which namespaces and labels it manages"
    )]
    NoSuchDeployment {
        /// The namespace asked for.
        namespace: String,
        /// The name asked for.
        name: String,
    },
    /// 404
    #[error("the Deployment has no lease: PUT one, or see all of them at /api/v1/leases")]
    NoLease,
    /// 404
    #[error(
        "this server has no leases: they are switched off, or have no namespace; leases.enabled and leases.namespace in its configuration are what they take"
    )]
    LeasesOff,
    /// 404
    #[error(
        "namespace {0:?} isn't managed by this server: check it, and which namespaces it manages"
    )]
    NoSuchNamespace(String),
    /// 404
    #[error(
        "Deployment {name:?} in namespace {namespace:?} has no container {container:?}: its containers are at /api/v1/namespaces/{namespace}/deployments/{name}/containers"
    )]
    NoSuchContainer {
        /// The Deployment's namespace.
        namespace: String,
        /// The Deployment's name.
        name: String,
        /// The container asked for.
        container: String,
    },
    /// 404
    #[error("the Deployment has no such revision to go back to; it has {kept}, and runs {now}")]
    NoSuchRevision {
        /// The revisions that are kept, in words.
        kept: String,
        /// The one that runs, in words.
        now: String,
    },
    /// 405
    #[error("this path has no such method; it has {allow}")]
    MethodNotAllowed {
        /// The methods that it has.
        allow: &'static str,
    },
    /// 408
    #[error("the body didn't arrive within {} s: send it at once", .within.as_secs())]
    BodyTooSlow {
        /// The time it had.
        within: Duration,
    },
    /// 409
    #[error("the Deployment is being deleted: wait until it is gone and create it again")]
    BeingDeleted,
    /// 409
    #[error(
        "the Deployment's rollouts are paused: resume them first (PUT …/paused {{\"paused\": false}})"
    )]
    Paused,
    /// 409
    #[error(
        "the Deployment's controller hasn't numbered what runs now, so which revision is the previous one can't be told: try again in a moment, or name the revision"
    )]
    RevisionUnknown,
    /// 409
    #[error(
        "the step with this Idempotency-Key is under way: send it again in a moment to learn what came of it"
    )]
    StepUnderWay,
    /// 409
    #[error("the lease was left as it is: {0}")]
    LeaseRefused(&'static str),
    /// 409
    #[error("others kept changing the Deployment: read it again and retry")]
    Conflict,
    /// 410
    #[error(
        "the snapshot of this list isn't kept any more, or by another server: begin anew, without continue"
    )]
    PageExpired,
    /// 412
    #[error(
        "the precondition doesn't hold: the Deployment now has {now} replicas and the tag {tag}; read it again before you decide"
    )]
    PreconditionFailed {
        /// The count that it has.
        now: i32,
        /// Its entity tag.
        tag: String,
    },
    /// 412
    #[error(
        "the precondition doesn't hold: the Deployment's containers now have the tag {tag}, and {container:?} has the image {now:?}; read them again before you decide"
    )]
    ContainersChanged {
        /// The container asked for.
        container: String,
        /// The image that it has.
        now: String,
        /// The entity tag of all of them.
        tag: String,
    },
    /// 412
    #[error(
        "the precondition doesn't hold: the Deployment has the tag {tag} now; read it again before you decide"
    )]
    DeploymentChanged {
        /// Its entity tag.
        tag: String,
    },
    /// 412
    #[error("the Deployment was {how}{}: left as it is", by.as_ref().map_or_else(String::new, |by| format!(", by {by}")))]
    ChangedSince {
        /// From what to what.
        how: String,
        /// Who set it last, if that is known and may be told.
        by: Option<String>,
    },
    /// 412
    #[error("the Deployment by this name is another one than that of the snapshot: left as it is")]
    ReplacedSince,
    /// 413
    #[error("the body is larger than {most} bytes: send the one JSON object that this path takes")]
    BodyTooLarge {
        /// The most that is read.
        most: usize,
    },
    /// 414
    #[error("the URI is longer than {most} bytes")]
    UriTooLong {
        /// The longest that is taken.
        most: usize,
    },
    /// 415
    #[error(
        "the body must be plain JSON: send it with Content-Type: application/json and without Content-Encoding"
    )]
    UnsupportedMediaType,
    /// 415
    #[error(
        "the body must be JSON in UTF-8, and its Content-Type says charset {0}: leave that out, or say charset=utf-8"
    )]
    UnsupportedCharset(String),
    /// 422
    #[error("{0}")]
    OutOfBounds(#[from] BoundsViolation),
    /// 422
    #[error("the lease is somebody else's, and what it brings back isn't yours to set: {0}")]
    ReturnOutOfBounds(BoundsViolation),
    /// 422
    #[error("{0}")]
    ImageNotAllowed(#[from] ImageViolation),
    /// 422
    #[error(
        "a step by {delta} from {now} replicas leads below 0 or above 2147483647: nothing was changed"
    )]
    StepTooLarge {
        /// The count that it has.
        now: i32,
        /// The step.
        delta: i32,
    },
    /// 422
    #[error(
        "the selector selects {found} Deployments, and a batch has {most} at most: nothing was changed; select fewer, or list them in several batches"
    )]
    TooManySelected {
        /// How many it selects.
        found: usize,
        /// The most of one batch.
        most: usize,
    },
    /// 422
    #[error(
        "a lease of {seconds} s can't be: ask for 10 to {longest} s (leases.longest), and extend it later if need be"
    )]
    LeaseLength {
        /// The seconds asked for.
        seconds: u32,
        /// The longest that there may be.
        longest: u32,
    },
    /// 422
    #[error(
        "there are {most} leases already, which is all that there may be (leases.most): wait until some have ended, or cancel them"
    )]
    TooManyLeases {
        /// How many there may be.
        most: usize,
    },
    /// 422
    #[error(
        "the count can't go back to what it was before the lease: {0}; set the count that is wanted, or keep this one with ?keep=true where the bounds let it"
    )]
    LeaseReturn(String),
    /// 422
    #[error(
        "the lease has ended and its count stays, since it can't go back to what it was: {0}; set the count that is wanted"
    )]
    LeaseLost(String),
    /// 422
    #[error("Kubernetes refused the {0}: {1}")]
    Refused(&'static str, String),
    /// 422
    #[error(
        "this changes {pods} Pods, and limits.rates.podsPerMinute lets this caller change {per_minute} a minute: it never fits; go in smaller steps, or ask whoever runs this server"
    )]
    LargerThanBudget {
        /// The Pods that would be changed.
        pods: u64,
        /// The caller's budget.
        per_minute: u64,
    },
    /// 429
    #[error(
        "your identity has {most} connections open already, which is all that it may have at one server: close some, or send more requests over each"
    )]
    TooManyConnections {
        /// How many it may have.
        most: usize,
    },
    /// 429
    #[error(
        "this caller {verb}s more often than limits.rates.{verb}s lets it ({rate}): come back in {in_seconds} s",
        verb = if *.limit == Limit::WriteRate { "write" } else { "read" },
        in_seconds = seconds(.wait)
    )]
    TooOften {
        /// That of reads or of writes.
        limit: Limit,
        /// What it allows.
        rate: Rate,
        /// How soon there is room for one.
        wait: Duration,
    },
    /// 429
    #[error(
        "this changes {pods} Pods, and limits.rates.podsPerMinute lets this caller change {per_minute} a minute, of which too many were changed already: nothing was changed, come back in {in_seconds} s",
        in_seconds = seconds(.wait)
    )]
    OverBudget {
        /// The Pods that would be changed.
        pods: u64,
        /// The caller's budget.
        per_minute: u64,
        /// How soon there is room for them.
        wait: Duration,
    },
    /// 429 where it is the caller's own share, 503 where others' requests leave none.
    #[error(
        "{what} under way, and nothing was changed: come back in a moment{fewer}",
        what = in_the_way(.0),
        fewer = if .0.own { ", with fewer at once" } else { "" }
    )]
    NoTurn(#[from] NoTurn),
    /// 431
    #[error("the request has more than {most} headers")]
    TooManyHeaders {
        /// The most that is taken.
        most: usize,
    },
    /// 431
    #[error("the headers are larger than {most} bytes together")]
    HeadersTooLarge {
        /// The most that is taken.
        most: usize,
    },
    /// 500
    #[error("this server failed to answer; its log says why under the request's id (X-Request-Id)")]
    Panicked,
    /// 502
    #[error(
        "the cluster refuses this server's own credentials, or doesn't let its account do this: nothing was changed; tell whoever runs it, whose `headcount doctor` says which right is missing"
    )]
    Credentials,
    /// 503
    #[error("this server's copy of the cluster isn't complete yet: come back in a moment")]
    NotSynced,
    /// 503
    #[error(
        "the batch's {} s were over before this one's turn came: it wasn't changed; send it again", .0.as_secs()
    )]
    BatchOverdue(Duration),
    /// 503
    #[error(
        "this server is shutting down, and what it hadn't begun isn't begun any more: it wasn't changed; send it again, to another server"
    )]
    ShuttingDown,
    /// 503
    #[error("this server's copy hasn't reached resourceVersion {0} within {wait} s: come back in a moment", wait = .1.as_secs())]
    BehindVersion(u64, Duration),
    /// 503
    #[error(
        "the labels of this selector aren't in this server's copy yet, and new ones are read every 10 s at most: come back in a moment"
    )]
    LabelsNotRead,
    /// 503
    #[error(
        "which leases there are isn't known yet, or this server's account may not list them: come back in a moment, or see what `headcount doctor` says"
    )]
    LeasesUnknown,
    /// 503
    #[error("this server is short of memory: come back in a moment, or ask for less")]
    ShortOfMemory,
    /// 503
    #[error(
        "this server is read-only (--read-only): nothing can be set here; ask another server, or whoever runs this one"
    )]
    ReadOnly,
    /// 503
    #[error(
        "the audit trail can't be written, and this server sets nothing without it (audit.failurePolicy): nothing was changed; come back in a moment, or ask whoever runs this server"
    )]
    Unrecorded,
    /// 503
    #[error("the Kubernetes API is unavailable, nothing was changed: {why}")]
    Unavailable {
        /// Why.
        why: String,
        /// How soon to come back.
        retry_after: Duration,
    },
    /// 504
    #[error(
        "the write was sent to Kubernetes and its outcome isn't known: read the {0} before you decide whether to send it again ({1})"
    )]
    OutcomeUnknown(&'static str, String),
}

/// Whole seconds, rounded up: whoever comes back then isn't too early.
pub(super) fn seconds(wait: &Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn in_the_way(NoTurn { limit, own }: &NoTurn) -> String {
    let what = match limit {
        Limit::Writes => "writes to Kubernetes (limits.writesAtOnce)",
        Limit::ContainerReads => "reads of Deployments from Kubernetes",
        Limit::AccessReviews => "questions to the cluster about callers",
        Limit::Lists => "lists to be searched or compressed",
        Limit::Watches => "watches (limits.watches)",
        Limit::LargeHeads => "requests with more than 4 KiB of URI and headers",
        Limit::CallerStreams => "requests (limits.http2.streamsPerCaller)",
        _ => "requests that wait (limits.requests)",
    };
    let whose = if *own { "this caller has" } else { "there are" };
    format!("{whose} too many {what}")
}

impl ApiError {
    /// The limit that was reached, if that is what failed. The one on connections is told of when the connection comes.
    pub(super) fn limit(&self) -> Option<Limit> {
        match self {
            Self::BodyTooSlow { .. } => Some(Limit::BodyTime),
            Self::BodyTooLarge { .. } => Some(Limit::BodySize),
            Self::UriTooLong { .. } => Some(Limit::UriSize),
            Self::TooManyHeaders { .. } | Self::HeadersTooLarge { .. } => Some(Limit::HeaderSize),
            Self::TooOften { limit, .. } | Self::NoTurn(NoTurn { limit, .. }) => Some(*limit),
            Self::OverBudget { .. } | Self::LargerThanBudget { .. } => Some(Limit::PodsPerMinute),
            Self::ShortOfMemory => Some(Limit::Memory),
            _ => None,
        }
    }

    /// Whether the caller may not do what it asked for, or isn't let in any more.
    pub(super) fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Forbidden(_)
                | Self::CrossSite { .. }
                | Self::CertificateExpired
                | Self::CertificateRefused { .. }
        )
    }

    /// Its sentence without what only its caller may see: parts of the body.
    pub(super) fn logged(&self) -> String {
        match self {
            Self::BadBody(_) => Self::BadBody(String::new()).to_string(),
            Self::BadImageBody(_) => Self::BadImageBody(String::new()).to_string(),
            Self::BadStepBody(_) => Self::BadStepBody(String::new()).to_string(),
            Self::BadPausedBody(_) => Self::BadPausedBody(String::new()).to_string(),
            Self::BadBatchBody(_) => Self::BadBatchBody(String::new()).to_string(),
            Self::BadSnapshotBody(_) => Self::BadSnapshotBody(String::new()).to_string(),
            Self::BadLeaseBody(_) => Self::BadLeaseBody(String::new()).to_string(),
            Self::BadExtensionBody(_) => Self::BadExtensionBody(String::new()).to_string(),
            Self::BadOptionalBody(_) => "the body is not what this path takes".into(),
            other => other.to_string(),
        }
    }
}
