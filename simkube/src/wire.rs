//! Protobuf as kube-apiserver writes it: field numbers, the `k8s\0` envelope, watch frames.
//!
//! Fields that Kubernetes writes even when they are empty are written empty here too, so that decoders meet them.

use bytes::Bytes;

use crate::json::{ManagedFields, plain_labels};
use crate::object::{Object, Pairs, Spec};
use crate::revision::REVISION;
use crate::status::Status;

/// Appends protobuf fields to a buffer.
pub(crate) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self(buffer)
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, tag: u32, wire_type: u32) {
        self.raw_varint(u64::from(tag << 3 | wire_type));
    }

    pub(crate) fn int(&mut self, tag: u32, value: i64) {
        self.key(tag, 0);
        self.raw_varint(value as u64);
    }

    pub(crate) fn bytes(&mut self, tag: u32, value: &[u8]) {
        self.header(tag, value.len());
        self.0.extend_from_slice(value);
    }

    pub(crate) fn string(&mut self, tag: u32, value: &str) {
        self.bytes(tag, value.as_bytes());
    }

    /// The start of a length-delimited field whose `len` bytes follow from elsewhere.
    fn header(&mut self, tag: u32, len: usize) {
        self.key(tag, 2);
        self.raw_varint(len as u64);
    }

    /// A nested message. Its length is known afterwards, so the content is moved up by the length's size.
    pub(crate) fn message(&mut self, tag: u32, fill: impl FnOnce(&mut Writer<'_>)) {
        self.key(tag, 2);
        let start = self.0.len();
        fill(&mut Writer(self.0));
        let len = self.0.len() - start;
        let digits = varint_len(len as u64);
        self.0.resize(start + len + digits, 0);
        self.0.copy_within(start..start + len, start + digits);
        let mut rest = len as u64;
        for at in start..start + digits {
            let more = if at + 1 < start + digits { 0x80 } else { 0 };
            self.0[at] = (rest as u8 & 0x7f) | more;
            rest >>= 7;
        }
    }

    fn map(&mut self, tag: u32, pairs: &Pairs) {
        for (key, value) in pairs.iter() {
            self.pair(tag, key, value);
        }
    }

    fn pair(&mut self, tag: u32, key: &str, value: &str) {
        self.message(tag, |w| {
            w.string(1, key);
            w.string(2, value);
        });
    }

    fn time(&mut self, tag: u32, seconds: i64) {
        self.message(tag, |w| {
            w.int(1, seconds);
            w.int(2, 0);
        });
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// How long a length-delimited field of `len` bytes is, its key (tags up to 15) and length included.
pub(crate) fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// The content of a Deployment message.
pub(crate) fn deployment(out: &mut Vec<u8>, object: &Object, managed: &ManagedFields) {
    let w = &mut Writer::new(out);
    w.message(1, |w| object_meta(w, object, managed));
    w.message(2, |w| deployment_spec(w, object));
    w.message(3, |w| deployment_status(w, object));
}

fn object_meta(w: &mut Writer<'_>, object: &Object, managed: &ManagedFields) {
    w.string(1, object.name());
    w.string(2, "");
    w.string(3, object.namespace());
    w.string(4, "");
    let mut uid = [0; uuid::fmt::Hyphenated::LENGTH];
    w.string(5, object.uid.hyphenated().encode_lower(&mut uid));
    w.string(6, &object.resource_version.to_string());
    w.int(7, object.generation);
    w.time(8, object.created);
    if let Some(at) = object.deleted {
        w.time(9, at);
        w.int(10, 0);
    }
    w.map(11, &object.labels);
    w.map(12, &object.annotations);
    if let Some(number) = object.numbered() {
        w.pair(12, REVISION, &number.to_string());
    }
    for finalizer in object.finalizers.iter() {
        w.string(14, finalizer);
    }
    if !managed.raw().is_empty() {
        w.message(17, |w| {
            w.string(1, "simkube");
            w.string(2, "Update");
            w.string(3, "apps/v1");
            w.time(4, object.created);
            w.string(6, "FieldsV1");
            w.message(7, |w| w.bytes(1, managed.raw()));
            w.string(8, "");
        });
        for by in object.set_by.iter() {
            w.message(17, |w| {
                w.string(1, &by.manager);
                w.string(2, by.operation());
                w.string(3, "apps/v1");
                // kube-apiserver keeps no time of what came through a subresource.
                if by.subresource.is_empty() {
                    w.time(4, by.at);
                }
                w.string(6, "FieldsV1");
                w.message(7, |w| w.bytes(1, br#"{"f:spec":{"f:replicas":{}}}"#));
                w.string(8, by.subresource);
            });
        }
    }
}

fn empty_meta(w: &mut Writer<'_>, labels: impl FnOnce(&mut Writer<'_>)) {
    for tag in 1..=6 {
        w.string(tag, "");
    }
    w.int(7, 0);
    w.message(8, |_| {});
    labels(w);
}

fn deployment_spec(w: &mut Writer<'_>, object: &Object) {
    if let Some(replicas) = object.replicas {
        w.int(1, i64::from(replicas));
    }
    match &object.spec {
        Spec::Plain { image } => {
            let labels = plain_labels(object);
            w.message(2, |w| w.pair(1, labels.0, labels.1));
            w.message(3, |w| {
                w.message(1, |w| empty_meta(w, |w| w.pair(11, labels.0, labels.1)));
                w.message(2, |w| pod_spec(w, [("main", &**image)].into_iter()));
            });
        }
        Spec::Given(spec) => {
            let strings = |path: &str| {
                let map = spec.pointer(path).and_then(|labels| labels.as_object());
                map.into_iter()
                    .flatten()
                    .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
            };
            let containers = spec
                .pointer("/template/spec/containers")
                .and_then(|list| list.as_array());
            let containers = containers.into_iter().flatten().map(|container| {
                (
                    container["name"].as_str().unwrap_or_default(),
                    container["image"].as_str().unwrap_or_default(),
                )
            });
            w.message(2, |w| {
                strings("/selector/matchLabels").for_each(|(k, v)| w.pair(1, k, v))
            });
            w.message(3, |w| {
                w.message(1, |w| {
                    empty_meta(w, |w| {
                        strings("/template/metadata/labels").for_each(|(k, v)| w.pair(11, k, v))
                    });
                });
                w.message(2, |w| pod_spec(w, containers));
            });
        }
    }
    w.message(4, |w| {
        w.string(1, "RollingUpdate");
        w.message(2, |w| {
            w.message(1, quarter);
            w.message(2, quarter);
        });
    });
    w.int(5, 0);
    w.int(6, 10);
    w.int(7, 0);
    w.int(9, 600);
}

/// An `IntOrString` of 25%.
fn quarter(w: &mut Writer<'_>) {
    w.int(1, 1);
    w.int(2, 0);
    w.string(3, "25%");
}

fn pod_spec<'a>(w: &mut Writer<'_>, containers: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, image) in containers {
        w.message(2, |w| {
            w.string(1, name);
            w.string(2, image);
            w.string(5, "");
            w.message(8, |_| {});
            w.string(13, "/dev/termination-log");
            w.string(14, "IfNotPresent");
            for tag in 16..=18 {
                w.int(tag, 0);
            }
            w.string(20, "File");
        });
    }
    w.string(3, "Always");
    w.int(4, 30);
    w.string(6, "ClusterFirst");
    for tag in 8..=10 {
        w.string(tag, "");
    }
    for tag in 11..=13 {
        w.int(tag, 0);
    }
    w.message(14, |_| {});
    w.string(16, "");
    w.string(17, "");
    w.string(19, "default-scheduler");
    w.string(24, "");
}

/// What is written of a pod's spec in which nothing is set.
fn empty_pod_spec(w: &mut Writer<'_>) {
    for tag in [3, 6, 8, 9, 10] {
        w.string(tag, "");
    }
    for tag in 11..=13 {
        w.int(tag, 0);
    }
    for tag in [16, 17, 19, 24] {
        w.string(tag, "");
    }
}

fn deployment_status(w: &mut Writer<'_>, object: &Object) {
    let status = &object.status;
    w.int(1, status.observed_generation);
    w.int(2, i64::from(status.replicas));
    w.int(3, i64::from(status.updated));
    w.int(4, i64::from(status.available));
    w.int(5, i64::from(status.replicas - status.available));
    for condition in crate::json::conditions(object) {
        w.message(6, |w| {
            w.string(1, condition.kind);
            w.string(2, if condition.holds { "True" } else { "False" });
            w.string(4, condition.reason);
            w.string(5, condition.message);
            w.time(6, condition.at);
            w.time(7, object.created);
        });
    }
    w.int(7, i64::from(status.ready));
}

/// A whole message in the `k8s\0` envelope.
pub(crate) fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = envelope_start(api_version, kind, raw.len());
    out.extend_from_slice(raw);
    out.extend_from_slice(ENVELOPE_END);
    out
}

/// What comes before the `raw_len` bytes of the message.
pub(crate) fn envelope_start(api_version: &str, kind: &str, raw_len: usize) -> Vec<u8> {
    let mut out = b"k8s\0".to_vec();
    let mut w = Writer::new(&mut out);
    w.message(1, |w| {
        w.string(1, api_version);
        w.string(2, kind);
    });
    w.header(2, raw_len);
    out
}

/// `contentEncoding` and `contentType`, both empty: what comes after the message.
pub(crate) const ENVELOPE_END: &[u8] = &[0x1a, 0x00, 0x22, 0x00];

/// The `metadata` field of a list.
pub(crate) fn list_meta(
    resource_version: u64,
    continue_token: &str,
    remaining: Option<usize>,
) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).message(1, |w| {
        w.string(1, "");
        w.string(2, &resource_version.to_string());
        w.string(3, continue_token);
        if let Some(remaining) = remaining {
            w.int(4, remaining as i64);
        }
    });
    out
}

/// The start of an item of `len` bytes in a list.
pub(crate) fn item_start(out: &mut Vec<u8>, len: usize) {
    Writer::new(out).header(2, len);
}

/// Bytes that no decoder accepts as a Deployment: a field longer than what holds it.
pub(crate) const BAD_DEPLOYMENT: &[u8] = &[0x0a, 0x7f, 0xff, 0xff, 0xff];

/// One frame of a watch: a length and a bare `WatchEvent`.
pub(crate) fn watch_frame(event: &str, object: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(&[0; 4]);
    let mut w = Writer::new(&mut out);
    w.string(1, event);
    w.header(2, field_len(object.len()));
    w.bytes(1, object);
    let len = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.into()
}

/// A bookmark's object: a Deployment of which only the version is set.
pub(crate) fn bookmark(resource_version: u64, initial_events_end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let w = &mut Writer::new(&mut out);
    w.message(1, |w| {
        for tag in 1..=5 {
            w.string(tag, "");
        }
        w.string(6, &resource_version.to_string());
        w.int(7, 0);
        w.message(8, |_| {});
        if initial_events_end {
            w.pair(12, crate::json::INITIAL_EVENTS_END, "true");
        }
    });
    w.message(2, |w| {
        w.int(1, 0);
        w.message(3, |w| {
            w.message(1, |w| empty_meta(w, |_| {}));
            w.message(2, empty_pod_spec);
        });
        w.message(4, |w| w.string(1, ""));
        w.int(5, 0);
        w.int(7, 0);
    });
    w.message(3, |w| {
        for tag in [1, 2, 3, 4, 5, 7] {
            w.int(tag, 0);
        }
    });
    envelope("apps/v1", "Deployment", &out)
}

/// A `Status` in its envelope.
pub(crate) fn status(status: &Status) -> Vec<u8> {
    let mut out = Vec::new();
    let w = &mut Writer::new(&mut out);
    w.message(1, |w| {
        w.string(1, "");
        w.string(2, "");
        w.string(3, status.continue_token.as_deref().unwrap_or_default());
    });
    w.string(
        2,
        if status.is_success() {
            "Success"
        } else {
            "Failure"
        },
    );
    w.string(3, &status.message);
    w.string(4, &status.reason);
    if let Some(details) = &status.details {
        w.message(5, |w| {
            w.string(1, &details.name);
            w.string(2, &details.group);
            w.string(3, &details.kind);
            for cause in &details.causes {
                w.message(4, |w| {
                    w.string(1, &cause.reason);
                    w.string(2, &cause.message);
                    w.string(3, &cause.field);
                });
            }
            w.int(5, i64::from(details.retry_after_seconds));
            w.string(6, &details.uid);
        });
    }
    w.int(
        6,
        if status.is_success() {
            0
        } else {
            i64::from(status.code)
        },
    );
    envelope("v1", "Status", &out)
}

/// A `Scale` in its envelope.
pub(crate) fn scale(object: &Object, selector: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let w = &mut Writer::new(&mut out);
    w.message(1, |w| {
        w.string(1, object.name());
        w.string(2, "");
        w.string(3, object.namespace());
        w.string(4, "");
        w.string(5, &object.uid.to_string());
        w.string(6, &object.resource_version.to_string());
        w.int(7, 0);
        w.time(8, object.created);
    });
    w.message(2, |w| w.int(1, i64::from(object.replicas.unwrap_or(0))));
    w.message(3, |w| {
        w.int(1, i64::from(object.status.replicas));
        w.string(2, selector);
    });
    envelope("autoscaling/v1", "Scale", &out)
}
