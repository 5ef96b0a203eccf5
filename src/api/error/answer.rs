//! The answer that a failure is: its status, its headers, its body.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use super::{super::Body, ApiError, COME_BACK, seconds};
use crate::limits::NoTurn;

impl ApiError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_)
            | Self::BadBody(_)
            | Self::BadImageBody(_)
            | Self::BadStepBody(_)
            | Self::BadPausedBody(_)
            | Self::BadBatchBody(_)
            | Self::BadSnapshotBody(_)
            | Self::BadLeaseBody(_)
            | Self::BadExtensionBody(_)
            | Self::BadOptionalBody(_) => StatusCode::BAD_REQUEST,
            Self::CertificateExpired | Self::CertificateRefused { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::CrossSite { .. } => StatusCode::FORBIDDEN,
            Self::NoSuchPath
            | Self::NoSuchDeployment { .. }
            | Self::NoSuchNamespace(_)
            | Self::NoSuchRevision { .. }
            | Self::NoLease
            | Self::LeasesOff
            | Self::NoSuchContainer { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BeingDeleted
            | Self::Paused
            | Self::RevisionUnknown
            | Self::StepUnderWay
            | Self::LeaseRefused(_)
            | Self::Conflict => StatusCode::CONFLICT,
            Self::PageExpired => StatusCode::GONE,
            Self::PreconditionFailed { .. }
            | Self::ContainersChanged { .. }
            | Self::ChangedSince { .. }
            | Self::ReplacedSince
            | Self::DeploymentChanged { .. } => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType | Self::UnsupportedCharset(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::OutOfBounds(_)
            | Self::ReturnOutOfBounds(_)
            | Self::ImageNotAllowed(_)
            | Self::Refused(..)
            | Self::TooManySelected { .. }
            | Self::StepTooLarge { .. }
            | Self::LeaseLength { .. }
            | Self::TooManyLeases { .. }
            | Self::LeaseReturn(_)
            | Self::LeaseLost(_)
            | Self::LargerThanBudget { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooOften { .. }
            | Self::TooManyConnections { .. }
            | Self::OverBudget { .. }
            | Self::NoTurn(NoTurn { own: true, .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManyHeaders { .. } | Self::HeadersTooLarge { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Credentials => StatusCode::BAD_GATEWAY,
            Self::NotSynced
            | Self::BehindVersion(..)
            | Self::LabelsNotRead
            | Self::BatchOverdue(_)
            | Self::ShuttingDown
            | Self::LeasesUnknown
            | Self::ShortOfMemory
            | Self::ReadOnly
            | Self::Unrecorded
            | Self::NoTurn(_)
            | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::OutcomeUnknown(..) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// When to come back, where that is of use.
    pub(in crate::api) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooOften { wait, .. } | Self::OverBudget { wait, .. } => Some(*wait),
            Self::NoTurn(_) => Some(NoTurn::COME_BACK),
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            // Nothing that passes by itself: programs that obey it don't hammer.
            Self::ReadOnly => Some(Duration::from_secs(60)),
            Self::TooManyConnections { .. } => Some(COME_BACK),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(COME_BACK),
            _ => None,
        }
    }

    /// Whether nothing more can be said on the connection.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::CertificateExpired
                | Self::CertificateRefused { .. }
                | Self::BodyTooSlow { .. }
                | Self::BodyTooLarge { .. }
                | Self::TooManyConnections { .. }
        )
    }

    /// The whole answer.
    pub(in crate::api) fn into_response(self) -> Response<Body> {
        let status = self.status();
        let body = serde_json::json!({ "error": self.to_string() }).to_string();
        let mut response = Body::json(status, body);
        let headers = response.headers_mut();
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds(&wait).into());
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
