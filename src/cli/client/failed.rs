//! Why a command failed: its exit code, and a sentence that says what to do.

use std::{fmt, process::ExitCode};

use http::StatusCode;
use serde_json::Value;

use crate::client::{ANSWERED, Answer, ClientError, FilesError, contexts::ContextsError};

/// The exit codes of a client's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::cli) enum Code {
    Failed = 1,
    Forbidden = 3,
    NotFound = 4,
    Conflict = 5,
    Late = 6,
    Refused = 7,
    Away = 8,
    Usage = 64,
    Interrupted = 130,
}

impl Code {
    /// What a status means that isn't a success.
    pub(super) fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Self::Conflict,
            StatusCode::GATEWAY_TIMEOUT => Self::Late,
            StatusCode::UNPROCESSABLE_ENTITY => Self::Refused,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE => Self::Away,
            _ => Self::Failed,
        }
    }
}

/// A failure, in words.
#[derive(Debug)]
pub(in crate::cli) struct Failed {
    pub(super) code: Code,
    pub(super) sentence: String,
    /// Whether it is known that the server did nothing or something; not so without an answer.
    pub(super) answered: bool,
    /// Whether the request may have come to the server.
    pub(super) sent: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Failed {
    pub(super) fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
            answered: true,
            sent: true,
        }
    }

    pub(super) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Code::Usage, sentence)
    }

    pub(in crate::cli) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }

    /// What an answer means that isn't a success.
    pub(super) fn of(answer: &Answer) -> Self {
        let status = answer.status;
        let code = Code::of(status);
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(said) = told["error"].as_str() else {
            return Self::new(
                code,
                format!(
                    "the server answered {status} and not why; see that it is headcount, and this its API's port"
                ),
            );
        };
        let next = match (code, answer.header("retry-after")) {
            (Code::Forbidden, _) => {
                "; `headcount whoami` tells whom the server takes you for and what you may do"
                    .to_owned()
            }
            // A minute and more is for programs: a read-only server stays one until somebody changes that.
            (Code::Away, Some(seconds)) if seconds.parse().is_ok_and(|s: u64| s < 60) => {
                format!("; try again in {seconds} s")
            }
            _ => String::new(),
        };
        Self::new(code, format!("{said}{next}"))
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Name { .. } | ClientError::Connect { .. } | ClientError::Ended { .. } => {
                Code::Away
            }
            ClientError::Late { .. } => Code::Late,
            ClientError::Refused { .. } => Code::Forbidden,
            ClientError::Untrusted { .. } | ClientError::Spoken { .. } => Code::Failed,
        };
        let sent = matches!(
            error,
            ClientError::Ended { .. } | ClientError::Late { what: ANSWERED, .. }
        );
        Self {
            answered: false,
            sent,
            ..Self::new(code, error.to_string())
        }
    }
}

impl From<FilesError> for Failed {
    fn from(error: FilesError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ContextsError> for Failed {
    fn from(error: ContextsError) -> Self {
        Self::usage(error.to_string())
    }
}
