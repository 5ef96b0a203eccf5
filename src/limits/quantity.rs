//! How quantities are written in the configuration: `64Ki`, `5s`.

use std::{fmt, marker::PhantomData, time::Duration};

use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Bytes: a whole number, alone or with Ki, Mi or Gi behind it, as Kubernetes writes them; at least 1.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserializer.deserialize_any(Bytes)
}

/// Bytes that are given.
pub(super) fn some_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    bytes(deserializer).map(Some)
}

/// Bytes between two bounds, both included.
pub(crate) fn bytes_within<'de, D: Deserializer<'de>, const LEAST: usize, const MOST: usize>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let bytes = bytes(deserializer)?;
    if (LEAST..=MOST).contains(&bytes) {
        return Ok(bytes);
    }
    let why = format!("{bytes} bytes can't be: write {LEAST} to {MOST}");
    Err(D::Error::custom(why))
}

/// How many of something there may be: 1 to 2147483647, since with none nobody would be served.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count = u32::deserialize(deserializer)?;
    match usize::try_from(count) {
        Ok(fits) if (1..=i32::MAX as u32).contains(&count) => Ok(fits),
        _ => Err(D::Error::custom(format!(
            "{count} can't be a limit: write 1 to 2147483647"
        ))),
    }
}

/// A time: `5s`, `1m30s`, `250ms`; more than none, and at most a day.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Time)
}

/// A value, or `unlimited`, which is none.
pub(super) fn unless_unlimited<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(UnlessUnlimited(PhantomData))
}

struct UnlessUnlimited<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for UnlessUnlimited<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit, or the word unlimited")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        match text {
            "unlimited" => Ok(None),
            _ => Err(E::custom(format!(
                "{text:?} is no limit; without one it is unlimited"
            ))),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, such as 65536 or 64Ki")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<usize, E> {
        match usize::try_from(number) {
            Ok(bytes) if bytes > 0 => Ok(bytes),
            _ => Err(E::custom(format!("{number} bytes can't be a limit"))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
        let units = [("Ki", 10), ("Mi", 20), ("Gi", 30)];
        let unit = units
            .into_iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
        let (number, shift) = unit.unwrap_or((text, 0));
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse::<usize>().ok().filter(|n| digits && *n > 0);
        number
            .and_then(|n| n.checked_mul(1 << shift))
            .ok_or_else(|| {
                E::custom(format!(
                    "{text:?} is no number of bytes: write 65536 or 64Ki (Ki, Mi, Gi)"
                ))
            })
    }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time, such as 5s or 250ms")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let parsed = text.parse::<SignedDuration>().ok();
        let time = parsed.and_then(|time| Duration::try_from(time).ok());
        time.filter(|time| !time.is_zero() && *time <= Duration::from_hours(24))
            .ok_or_else(|| {
                E::custom(format!(
                    "{text:?} is no time that can be a limit: write 5s, 250ms or 1m30s"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Read {
        #[serde(deserialize_with = "bytes")]
        bytes: usize,
        #[serde(deserialize_with = "time")]
        time: Duration,
    }

    fn read(bytes: &str, time: &str) -> Option<(usize, u128)> {
        let text = format!("bytes: {bytes}\ntime: {time}\n");
        let read: Read = serde_saphyr::from_str(&text).ok()?;
        Some((read.bytes, read.time.as_millis()))
    }

    #[test]
    fn quantities_are_written_as_kubernetes_writes_them() {
        assert_eq!(read("65536", "5s"), Some((65536, 5000)));
        assert_eq!(read("64Ki", "250ms"), Some((65536, 250)));
        assert_eq!(read("3Mi", "1m30s"), Some((3 << 20, 90_000)));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        let bad_bytes = [
            "0",
            "-1",
            "64k",
            "64KB",
            "1.5Mi",
            "Ki",
            "''",
            "99999999999Gi",
            "+1Ki",
            "~",
        ];
        for bad in bad_bytes {
            assert_eq!(read(bad, "5s"), None, "{bad}");
        }
        for bad in ["5", "0s", "-5s", "soon", "25h", "''", "~"] {
            assert_eq!(read("1", bad), None, "{bad}");
        }
    }
}
