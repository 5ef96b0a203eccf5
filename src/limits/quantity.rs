//! How quantities are written in the configuration: `64Ki`, `5s`.
//!
//! Each is a type to name in `#[serde(with = "…")]`: how it is read, how it is written, and its JSON Schema.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Bytes between two bounds, both included: a whole number, alone or with Ki, Mi or Gi behind it, as Kubernetes writes them.
pub(crate) struct Bytes<const LEAST: usize, const MOST: usize>;

/// Bytes, of which there is at least one.
pub(super) type Size = Bytes<1, { usize::MAX }>;

impl<const LEAST: usize, const MOST: usize> Bytes<LEAST, MOST> {
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<usize, D::Error> {
        let bytes = deserializer.deserialize_any(BytesVisitor)?;
        if (LEAST..=MOST).contains(&bytes) {
            return Ok(bytes);
        }
        let why = format!("{bytes} bytes can't be: write {LEAST} to {MOST}");
        Err(D::Error::custom(why))
    }

    pub(crate) fn serialize<S: Serializer>(
        bytes: &usize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match [("Gi", 30), ("Mi", 20), ("Ki", 10)]
            .into_iter()
            .find(|(_, shift)| *bytes > 0 && bytes.trailing_zeros() >= *shift)
        {
            Some((unit, shift)) => format!("{}{unit}", bytes >> shift).serialize(serializer),
            None => bytes.serialize(serializer),
        }
    }
}

impl<const LEAST: usize, const MOST: usize> JsonSchema for Bytes<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Bytes{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut number = json_schema!({"type": "integer", "minimum": LEAST});
        if MOST < usize::MAX {
            number.insert("maximum".into(), MOST.into());
        }
        json_schema!({"anyOf": [number, {"type": "string", "pattern": "^0*[1-9][0-9]*(Ki|Mi|Gi)?$"}]})
    }
}

/// Bytes that may be left out.
pub(super) struct SomeBytes;

impl SomeBytes {
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<usize>, D::Error> {
        Size::deserialize(deserializer).map(Some)
    }

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<usize>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.serialize(serializer)
    }
}

impl JsonSchema for SomeBytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SomeBytes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Size::json_schema(generator)
    }
}

/// How many of something there may be: 1 to 2147483647, since with none nobody would be served.
pub(super) struct Count;

impl Count {
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<usize, D::Error> {
        let count = u32::deserialize(deserializer)?;
        match usize::try_from(count) {
            Ok(fits) if (1..=i32::MAX as u32).contains(&count) => Ok(fits),
            _ => Err(D::Error::custom(format!(
                "{count} can't be a limit: write 1 to 2147483647"
            ))),
        }
    }

    pub(super) fn serialize<S: Serializer>(
        count: &usize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        count.serialize(serializer)
    }
}

impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": i32::MAX})
    }
}

/// A time: `5s`, `1m30s`, `250ms`; more than none, and at most a day.
pub(crate) struct Time;

impl Time {
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }

    pub(crate) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        written(*time).serialize(serializer)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "[0-9]", "examples": ["5s", "250ms", "1m30s"]})
    }
}

/// A time as a configuration has it: `1m30s`.
pub(crate) fn written(time: Duration) -> String {
    // Nothing here is longer than a day.
    let time = SignedDuration::try_from(time).unwrap_or_default();
    format!("{time:#}").replace(' ', "")
}

/// A value, or `unlimited`, which is none.
pub(super) struct UnlessUnlimited<T>(PhantomData<T>);

const UNLIMITED: &str = "unlimited";

impl<T> UnlessUnlimited<T> {
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error>
    where
        T: Deserialize<'de>,
    {
        deserializer.deserialize_any(UnlessUnlimitedVisitor(PhantomData))
    }

    pub(super) fn serialize<S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error>
    where
        T: Serialize,
    {
        match value {
            Some(value) => value.serialize(serializer),
            None => UNLIMITED.serialize(serializer),
        }
    }
}

impl<T: JsonSchema> JsonSchema for UnlessUnlimited<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}UnlessUnlimited", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"const": UNLIMITED}, generator.subschema_for::<T>()]})
    }
}

struct UnlessUnlimitedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for UnlessUnlimitedVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit, or the word unlimited")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        match text {
            UNLIMITED => Ok(None),
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

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
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

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
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
    use super::*;

    #[derive(Deserialize)]
    struct Read {
        #[serde(with = "Size")]
        bytes: usize,
        #[serde(with = "Time")]
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

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for text in ["5s", "250ms", "1m30s", "24h", "5m"] {
            let time = text.parse::<SignedDuration>().unwrap();
            assert_eq!(written(time.try_into().unwrap()), text);
        }
    }
}
