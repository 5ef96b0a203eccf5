//! A time to wait as a flag, a variable and the file have it.

use std::{str::FromStr, time::Duration};

use crate::limits::written;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nobody waits longer for an end.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// A time to wait, which may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "[0-9]"))]
pub struct Delay(pub(super) Duration);

/// Not a time that can be waited.
#[derive(Debug, thiserror::Error)]
#[error("give a time from 0s to 10m, like 3s, 500ms or 1m30s")]
pub struct NotADelay;

impl FromStr for Delay {
    type Err = NotADelay;

    fn from_str(text: &str) -> Result<Self, NotADelay> {
        let time = text.parse::<SignedDuration>().map_err(|_| NotADelay)?;
        let time = Duration::try_from(time).map_err(|_| NotADelay)?;
        if time > LONGEST {
            return Err(NotADelay);
        }
        Ok(Self(time))
    }
}

impl From<Delay> for String {
    fn from(delay: Delay) -> Self {
        written(delay.0)
    }
}

impl TryFrom<String> for Delay {
    type Error = NotADelay;

    fn try_from(text: String) -> Result<Self, NotADelay> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_may_be_none_and_is_bounded() {
        for (text, milliseconds) in [("0s", 0), ("3s", 3000), ("500ms", 500), ("10m", 600_000)] {
            assert_eq!(text.parse::<Delay>().unwrap().0.as_millis(), milliseconds);
        }
        for bad in ["", "3", "-1s", "11m", "soon"] {
            assert!(bad.parse::<Delay>().is_err(), "{bad}");
        }
    }
}
