//! JSON bodies: exactly one object of a kind, and what is wrong with one in words for a person: which field, and what it may be.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor, value::MapAccessDeserializer,
    },
};
use uuid::Uuid;

/// The longest that is said of what is wrong, in characters: it has keys and values of the body.
const LONGEST: usize = 200;
/// What a field is said to need.
const MUST: &str = "must be ";

/// A body that is exactly one JSON object of this kind; or what it has in its place, after a colon.
pub(super) fn one_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // serde would also take an array of the fields' values.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(String::new());
    }
    serde_json::from_slice(body).map_err(|error| {
        // Read once more, with an eye on where that is.
        let named = serde_json::from_slice::<Named<T>>(body).err();
        let why = words(&named.unwrap_or(error));
        let cut: String = why.chars().take(LONGEST).collect();
        let more = if cut.len() < why.len() { "…" } else { "" };
        format!(": {cut}{more}")
    })
}

/// A list of which each is an object, and no array of an object's values.
pub(super) fn objects<'de, D, T>(list: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Objects<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of objects")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            loop {
                let next = list.next_element::<Named<T>>().map_err(|error| {
                    let (what, place) = translated(&error);
                    if !is_of_data(&what) {
                        return error;
                    }
                    A::Error::custom(format!("[{}]: {what}{place}", all.len()))
                })?;
                let Some(Named(one)) = next else {
                    return Ok(all);
                };
                all.push(one);
            }
        }
    }
    list.deserialize_seq(Objects(PhantomData))
}

/// A count of replicas, in a field of its own.
pub(super) fn count<'de, D: Deserializer<'de>>(field: D) -> Result<i32, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = i32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 0 to 2147483647")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
            let wrong = |_| E::invalid_value(Unexpected::Unsigned(number), &self);
            number.try_into().map_err(wrong)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<i32, E> {
            Err(E::invalid_value(Unexpected::Signed(number), &self))
        }
    }
    field.deserialize_u64(Count)
}

/// The uid of a Deployment, in a field of its own.
pub(super) fn uid<'de, D: Deserializer<'de>>(field: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(field)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{MUST}a Deployment's uid of 32 hexadecimal digits and four '-', not {text:?}"
        ))
    })
}

/// An object whose failures say in which field they are.
struct Named<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                let key = String::new();
                T::deserialize(MapAccessDeserializer::new(Keyed { fields, key }))
            }
        }
        object.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// The fields of an object, of which the latest is known.
struct Keyed<A> {
    fields: A,
    key: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keyed<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.fields.next_key::<String>()? else {
            return Ok(None);
        };
        self.key.clone_from(&key);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.fields.next_value_seed(seed).map_err(|error| {
            let (what, place) = translated(&error);
            let key = &self.key;
            // That it isn't JSON is no matter of a field.
            if what.starts_with(MUST) {
                A::Error::custom(format!("{key} {what}{place}"))
            } else if what.starts_with('[') {
                A::Error::custom(format!("{key}{what}{place}"))
            } else {
                error
            }
        })
    }
}

/// What is wrong with a body that is no such object.
fn words(error: &serde_json::Error) -> String {
    let (what, place) = translated(error);
    if error.is_eof() {
        return "the body ends before the object does".into();
    }
    // Where it is in the text helps with what isn't JSON; otherwise the field is named.
    if error.is_data() {
        what
    } else {
        format!("that is no JSON: {what}{place}")
    }
}

/// Whether it is JSON, and not what is wanted.
fn is_of_data(what: &str) -> bool {
    let begins = ["missing field", "unknown field", "duplicate field", MUST];
    begins.iter().any(|begin| what.starts_with(begin)) || what.contains(MUST)
}

/// An error in words of JSON and not of Rust, and its place in the text.
fn translated(error: &impl fmt::Display) -> (String, String) {
    let whole = error.to_string();
    let (what, place) = match whole.rfind(" at line ") {
        Some(at) => whole.split_at(at),
        None => (&*whole, ""),
    };
    let wrong = what
        .strip_prefix("invalid type: ")
        .or_else(|| what.strip_prefix("invalid value: "));
    let what = match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((given, expected)) => format!("{MUST}{}, not {}", wanted(expected), found(given)),
        None => what.to_owned(),
    };
    (what, place.to_owned())
}

/// What serde has a name of Rust for.
fn wanted(expected: &str) -> &str {
    match expected {
        "i32" => "a whole number from -2147483648 to 2147483647",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number from 0 to 18446744073709551615",
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        other => other,
    }
}

/// What serde found, as it stands in JSON where that is short.
fn found(given: &str) -> &str {
    match given {
        "map" => "an object",
        "sequence" => "a list",
        "unit value" => "null",
        _ => {
            let kinds = [
                "integer ",
                "floating point ",
                "boolean ",
                "number ",
                "string ",
            ];
            let value = kinds.iter().find_map(|kind| given.strip_prefix(kind));
            value.map_or(given, |value| value.trim_matches('`'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct All {
        #[serde(default, deserialize_with = "objects")]
        items: Vec<One>,
        #[serde(default)]
        delta: i32,
        #[serde(default)]
        seconds: u32,
        revision: Option<u64>,
        #[serde(default)]
        paused: bool,
        #[serde(default)]
        image: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct One {
        #[serde(deserialize_with = "count")]
        replica_count: i32,
        #[serde(default, deserialize_with = "uid")]
        uid: Uuid,
    }

    #[track_caller]
    fn check(body: &str, words: &str) {
        let told = one_object::<All>(body.as_bytes()).unwrap_err();
        assert_eq!(told, format!(": {words}"), "{body}");
    }

    #[test]
    fn a_wrong_field_is_named_with_what_it_may_be_and_what_it_is() {
        let whole = "a whole number from";
        for (given, found) in [
            ("1.5", "1.5"),
            ("\"3\"", "\"3\""),
            ("null", "null"),
            ("[1]", "a list"),
            ("{}", "an object"),
            ("true", "true"),
            ("2147483648", "2147483648"),
        ] {
            check(
                &format!("{{\"delta\": {given}}}"),
                &format!("delta must be {whole} -2147483648 to 2147483647, not {found}"),
            );
            let count =
                format!("items[1]: replicaCount must be {whole} 0 to 2147483647, not {found}");
            let items = format!("[{{\"replicaCount\": 1}}, {{\"replicaCount\": {given}}}]");
            check(&format!("{{\"items\": {items}}}"), &count);
        }
        let count = "items[0]: replicaCount must be a whole number from 0 to 2147483647, not -1";
        check("{\"items\": [{\"replicaCount\": -1}]}", count);
        check(
            "{\"seconds\": -1}",
            "seconds must be a whole number from 0 to 4294967295, not -1",
        );
        check(
            "{\"revision\": \"a, expected b\"}",
            "revision must be a whole number from 0 to 18446744073709551615, not \"a, expected b\"",
        );
        check(
            "{\"paused\": \"yes\"}",
            "paused must be true or false, not \"yes\"",
        );
        check("{\"image\": 3}", "image must be a text in quotes, not 3");
        check(
            "{\"items\": {}}",
            "items must be a list of objects, not an object",
        );
        check(
            "{\"items\": [[1]]}",
            "items[0]: must be an object, not a list",
        );
        check(
            "{\"items\": [{\"replicaCount\": 1, \"uid\": \"x\"}]}",
            "items[0]: uid must be a Deployment's uid of 32 hexadecimal digits and four '-', not \"x\"",
        );
    }

    #[test]
    fn fields_that_are_missing_or_too_many_are_named() {
        check(
            "{\"items\": [{}]}",
            "items[0]: missing field `replicaCount`",
        );
        check(
            "{\"items\": [{\"replicaCount\": 1, \"x\": 1}]}",
            "items[0]: unknown field `x`, expected `replicaCount` or `uid`",
        );
        check("{\"delta\": 1, \"delta\": 1}", "duplicate field `delta`");
    }

    #[test]
    fn what_is_no_json_is_told_of_with_its_place() {
        check("{\"delta\": 1", "the body ends before the object does");
        check(
            "{\"items\": [{\"replicaCount\": 1",
            "the body ends before the object does",
        );
        check(
            "{\"delta\": +1}",
            "that is no JSON: expected value at line 1 column 11",
        );
        check(
            "{\"items\": [{\"replicaCount\": 03}]}",
            "that is no JSON: invalid number at line 1 column 30",
        );
        check(
            "{\"delta\": 1} x",
            "that is no JSON: trailing characters at line 1 column 14",
        );
    }

    #[test]
    fn a_long_value_is_not_said_back_whole() {
        let body = format!("{{\"delta\": {:?}}}", "k".repeat(60_000));
        let told = one_object::<All>(body.as_bytes()).unwrap_err();
        assert!(
            told.chars().count() < 210 && told.ends_with("kkk…"),
            "{told}"
        );
    }
}
