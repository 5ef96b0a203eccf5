//! What failures beneath the API mean to its callers.

use super::{ApiError, COME_BACK};
use crate::kubernetes::{ReadError, WriteError};

impl ApiError {
    /// What a failed write means to its caller; `noun` is what was to be set.
    pub(in crate::api) fn of_write(
        error: WriteError<Self>,
        (namespace, name): (&str, &str),
        noun: &'static str,
    ) -> Self {
        match error {
            WriteError::Judged(error) => error,
            WriteError::NotFound => Self::NoSuchDeployment {
                namespace: namespace.into(),
                name: name.into(),
            },
            WriteError::NoSuchContainer(container) => Self::NoSuchContainer {
                namespace: namespace.into(),
                name: name.into(),
                container,
            },
            WriteError::Conflict => Self::Conflict,
            WriteError::Refused(words) => Self::Refused(noun, words),
            // The cluster's words name this server's account and stay in the log.
            WriteError::Credentials(_) => Self::Credentials,
            WriteError::Unavailable(why, retry_after) => Self::Unavailable {
                why,
                retry_after: retry_after.unwrap_or(COME_BACK),
            },
            WriteError::NoTurn(why) => Self::NoTurn(why),
            WriteError::Unknown(why) => Self::OutcomeUnknown(noun, why),
        }
    }

    /// What a failed read means to its caller.
    pub(in crate::api) fn of_read(error: ReadError, names: (&str, &str)) -> Self {
        Self::of_write(error.into(), names, "")
    }
}
