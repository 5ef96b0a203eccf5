//! Bodies of requests: JSON, or the protobuf that client-go prefers, read into the same JSON.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::status::Status;

/// What a body is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// An object of this kind.
    Object(&'static str),
    /// A patch of any kind.
    Patch,
    /// `DeleteOptions`, which may be left out.
    Options,
}

impl Expected {
    /// Reads a body of this media type.
    pub(crate) fn read(self, media_type: &str, bytes: &Bytes) -> Result<Value, Status> {
        match (self, media_type) {
            (Self::Patch, _) => serde_json::from_slice(bytes)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}"))),
            (Self::Options, _) if bytes.is_empty() => Ok(Value::Null),
            (_, "application/json" | "") => self.read_json(bytes),
            (_, "application/vnd.kubernetes.protobuf") => {
                read_protobuf(bytes).ok_or_else(|| self.unrecognized("proto: illegal wireType"))
            }
            _ => Err(Status::new(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json, application/yaml, application/vnd.kubernetes.protobuf",
            )),
        }
    }

    fn read_json(self, bytes: &Bytes) -> Result<Value, Status> {
        match serde_json::from_slice(bytes) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => {
                Err(self.unrecognized("couldn't get version/kind; json parse error: not an object"))
            }
            Err(error) => Err(self.unrecognized(&format!(
                "couldn't get version/kind; json parse error: {error}"
            ))),
        }
    }

    fn unrecognized(self, why: &str) -> Status {
        let kind = match self {
            Self::Object(kind) => kind,
            Self::Patch | Self::Options => "DeleteOptions",
        };
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why}"
        ))
    }
}

/// A field that is read: its number, its name in JSON, what it holds. All others are skipped.
type Field = (u64, &'static str, Holds);

#[derive(Clone, Copy)]
enum Holds {
    Text,
    Texts,
    Int,
    Bool,
    /// A map of text to text.
    Map,
    Message(&'static [Field]),
    Messages(&'static [Field]),
}

const META: &[Field] = &[
    (1, "name", Holds::Text),
    (3, "namespace", Holds::Text),
    (5, "uid", Holds::Text),
    (6, "resourceVersion", Holds::Text),
    (11, "labels", Holds::Map),
    (12, "annotations", Holds::Map),
    (14, "finalizers", Holds::Texts),
];
const CONTAINER: &[Field] = &[(1, "name", Holds::Text), (2, "image", Holds::Text)];
const TEMPLATE: &[Field] = &[
    (1, "metadata", Holds::Message(META)),
    (
        2,
        "spec",
        Holds::Message(&[(2, "containers", Holds::Messages(CONTAINER))]),
    ),
];
const DEPLOYMENT_SPEC: &[Field] = &[
    (1, "replicas", Holds::Int),
    (
        2,
        "selector",
        Holds::Message(&[(1, "matchLabels", Holds::Map)]),
    ),
    (3, "template", Holds::Message(TEMPLATE)),
    (6, "revisionHistoryLimit", Holds::Int),
    (7, "paused", Holds::Bool),
    (9, "progressDeadlineSeconds", Holds::Int),
];
const DEPLOYMENT: &[Field] = &[
    (1, "metadata", Holds::Message(META)),
    (2, "spec", Holds::Message(DEPLOYMENT_SPEC)),
];
const SCALE: &[Field] = &[
    (1, "metadata", Holds::Message(META)),
    (2, "spec", Holds::Message(&[(1, "replicas", Holds::Int)])),
];
const NAMESPACE: &[Field] = &[(1, "metadata", Holds::Message(META))];
const PRECONDITIONS: &[Field] = &[(1, "uid", Holds::Text), (2, "resourceVersion", Holds::Text)];
const DELETE_OPTIONS: &[Field] = &[
    (2, "preconditions", Holds::Message(PRECONDITIONS)),
    (5, "dryRun", Holds::Texts),
];
const TYPE_META: &[Field] = &[(1, "apiVersion", Holds::Text), (2, "kind", Holds::Text)];

/// Reads a message in its `k8s\0` envelope; `None` if it is none.
fn read_protobuf(bytes: &[u8]) -> Option<Value> {
    let mut envelope = bytes.strip_prefix(b"k8s\0")?;
    let (mut type_meta, mut raw) = (Map::new(), &[][..]);
    while !envelope.is_empty() {
        match read_field(&mut envelope)? {
            (1, Payload::Bytes(bytes)) => type_meta = read_message(bytes, TYPE_META)?,
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields = match type_meta.get("kind")?.as_str()? {
        "Deployment" => DEPLOYMENT,
        "Scale" => SCALE,
        "Namespace" => NAMESPACE,
        "DeleteOptions" => DELETE_OPTIONS,
        _ => &[],
    };
    let mut value = read_message(raw, fields)?;
    value.extend(type_meta);
    Some(value.into())
}

enum Payload<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

fn read_message(mut bytes: &[u8], fields: &[Field]) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    while !bytes.is_empty() {
        let (tag, payload) = read_field(&mut bytes)?;
        let Some((_, name, holds)) = fields.iter().find(|(number, ..)| *number == tag) else {
            continue;
        };
        match (holds, payload) {
            // Kubernetes writes empty strings where JSON leaves the field out.
            (Holds::Text, Payload::Bytes([])) => {}
            (Holds::Text, Payload::Bytes(text)) => {
                map.insert((*name).to_owned(), std::str::from_utf8(text).ok()?.into());
            }
            (Holds::Int, Payload::Varint(number)) => {
                map.insert((*name).to_owned(), (number as i64).into());
            }
            (Holds::Bool, Payload::Varint(0)) => {}
            (Holds::Bool, Payload::Varint(_)) => {
                map.insert((*name).to_owned(), true.into());
            }
            (Holds::Texts, Payload::Bytes(text)) => {
                push(&mut map, name, std::str::from_utf8(text).ok()?.into())
            }
            (Holds::Message(fields), Payload::Bytes(bytes)) => {
                map.insert((*name).to_owned(), read_message(bytes, fields)?.into());
            }
            (Holds::Messages(fields), Payload::Bytes(bytes)) => {
                push(&mut map, name, read_message(bytes, fields)?.into());
            }
            (Holds::Map, Payload::Bytes(bytes)) => {
                let pair =
                    read_message(bytes, &[(1, "key", Holds::Text), (2, "value", Holds::Text)])?;
                let text = |name| pair.get(name).and_then(Value::as_str).unwrap_or_default();
                map.entry(*name).or_insert_with(|| Map::new().into())[text("key")] =
                    text("value").into();
            }
            _ => return None,
        }
    }
    Some(map)
}

fn push(map: &mut Map<String, Value>, name: &str, value: Value) {
    if let Some(list) = map
        .entry(name)
        .or_insert_with(|| Value::Array(Vec::new()))
        .as_array_mut()
    {
        list.push(value);
    }
}

fn read_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Payload<'a>)> {
    let key = read_varint(bytes)?;
    let payload = match key & 7 {
        0 => Payload::Varint(read_varint(bytes)?),
        1 => read_bytes(bytes, 8).map(|_| Payload::Fixed)?,
        2 => {
            let len = usize::try_from(read_varint(bytes)?).ok()?;
            Payload::Bytes(read_bytes(bytes, len)?)
        }
        5 => read_bytes(bytes, 4).map(|_| Payload::Fixed)?,
        _ => return None,
    };
    Some((key >> 3, payload))
}

fn read_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
