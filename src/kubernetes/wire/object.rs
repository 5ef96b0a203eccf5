//! A Deployment in protobuf: the fields that the store holds, read in place, without a copy of what is skipped.

use prost::encoding::{WireType, decode_key, decode_varint};
use uuid::Uuid;

use super::{DecodeError, version};
use crate::{
    name,
    store::{Annotation, AnnotationBounds, Attributes, Deployment, LabelKeys, Marks},
};

/// The longest value of a label (`k8s.io/apimachinery/pkg/util/validation`).
const LABEL_VALUE: usize = 63;

/// The labels with which Flux marks what it applies: name and namespace of its Kustomization, and of its HelmRelease.
const FLUX: [&str; 4] = [
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "helm.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/namespace",
];
/// The annotation with which Argo CD does: `application:group/kind:namespace/name`.
const ARGO: &str = "argocd.argoproj.io/tracking-id";

/// An object that can't be taken into the store: it is skipped and counted, the others live on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read a Deployment: its {field} is {value:?}")]
pub(crate) struct Undecodable {
    field: &'static str,
    value: String,
}

fn wrong(field: &'static str, value: &[u8]) -> Undecodable {
    // A character takes at most four bytes, so that a large value isn't copied.
    let start = String::from_utf8_lossy(&value[..value.len().min(80 * 4)]);
    Undecodable {
        field,
        value: start.chars().take(80).collect(),
    }
}

/// What was read of a Deployment; where a field is repeated, the last one counts, as everywhere in protobuf.
#[derive(Debug, Default)]
struct Fields<'a> {
    namespace: &'a [u8],
    name: &'a [u8],
    uid: &'a [u8],
    resource_version: &'a [u8],
    deleting: bool,
    replicas: Option<i32>,
    ready: i32,
    labels: Vec<(&'a str, &'a [u8])>,
    /// In the order of [`Annotation::ALL`].
    annotations: [Option<&'a [u8]>; 3],
    /// In the order of [`FLUX`].
    flux: [Option<&'a [u8]>; 4],
    argo: Option<&'a [u8]>,
}

/// Reads a Deployment with those of its labels whose keys are wanted.
pub(super) fn deployment(message: &[u8], labels: &LabelKeys) -> Result<Deployment, DecodeError> {
    Ok(Fields::read(message, labels)?.check()?)
}

/// The resourceVersion of an object of which nothing else matters.
pub(super) fn resource_version(message: &[u8]) -> Result<Option<u64>, DecodeError> {
    let none = LabelKeys::default();
    let fields = Fields::read(message, &none)?;
    Ok(std::str::from_utf8(fields.resource_version)
        .ok()
        .and_then(version))
}

impl<'a> Fields<'a> {
    fn read(message: &'a [u8], wanted: &'a LabelKeys) -> Result<Self, DecodeError> {
        let mut this = Self::default();
        each(message, |field, value| match field {
            1 => each(value.bytes()?, |field, value| {
                this.metadata(field, value, wanted)
            }),
            2 => each(value.bytes()?, |field, value| {
                if field == 1 {
                    this.replicas = Some(value.number()? as i32);
                }
                Ok(())
            }),
            3 => each(value.bytes()?, |field, value| {
                if field == 7 {
                    this.ready = value.number()? as i32;
                }
                Ok(())
            }),
            _ => Ok(()),
        })?;
        Ok(this)
    }

    fn metadata(
        &mut self,
        field: u32,
        value: Value<'a>,
        wanted: &'a LabelKeys,
    ) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.bytes()?,
            3 => self.namespace = value.bytes()?,
            5 => self.uid = value.bytes()?,
            6 => self.resource_version = value.bytes()?,
            9 => self.deleting = value.bytes().map(|_| true)?,
            11 => {
                let bytes = value.bytes()?;
                if wanted.is_empty() && !may_be_flux(bytes) {
                    return Ok(());
                }
                let (key, value) = entry(bytes)?;
                let mut flux = FLUX.iter().zip(&mut self.flux);
                if let Some((_, place)) = flux.find(|(mark, _)| mark.as_bytes() == key) {
                    *place = Some(value);
                }
                if let Some(key) = wanted.find(key) {
                    // So there are never more of them than are wanted, whatever arrives.
                    match self.labels.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, known)) => *known = value,
                        None => self.labels.push((key, value)),
                    }
                }
            }
            12 => {
                let (key, value) = entry(value.bytes()?)?;
                let mut kept = Annotation::ALL.iter().zip(&mut self.annotations);
                if let Some((_, place)) = kept.find(|(a, _)| a.key().as_bytes() == key) {
                    *place = Some(value);
                }
                if key == ARGO.as_bytes() {
                    self.argo = Some(value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What GitOps tools have marked it with; a mark that can't be one is none.
    fn marks(&self, namespace: &str, name: &str) -> Marks<String> {
        let text = |value: Option<&'a [u8]>| std::str::from_utf8(value?).ok();
        let flux = |own: Option<&'a [u8]>, space: Option<&'a [u8]>| {
            let own = text(own).filter(|n| name::is_deployment(n))?;
            let space = text(space).filter(|n| name::is_namespace(n))?;
            Some(format!("{space}/{own}"))
        };
        let argo = || {
            let (application, tracked) = text(self.argo)?.split_once(':')?;
            // A copy of another one's annotation marks nothing; Argo CD sees it alike.
            let tracked = tracked.strip_prefix("apps/Deployment:")?;
            let own = tracked.split_once('/') == Some((namespace, name));
            // Outside its usual namespace that one stands before the name, with a `_`.
            let named = application.len() <= 317 && application.split('_').all(name::is_deployment);
            (own && named).then(|| application.to_owned())
        };
        let [kustomization, its_namespace, release, releases_namespace] = self.flux;
        [
            flux(kustomization, its_namespace),
            flux(release, releases_namespace),
            argo(),
        ]
    }

    fn check(self) -> Result<Deployment, Undecodable> {
        let text = std::str::from_utf8;
        // Valid names need no escaping in JSON and fit the store's rows.
        let namespace = text(self.namespace).ok().filter(|n| name::is_namespace(n));
        let namespace = namespace.ok_or_else(|| wrong("namespace", self.namespace))?;
        let name = text(self.name).ok().filter(|n| name::is_deployment(n));
        let name = name.ok_or_else(|| wrong("name", self.name))?;
        let uid = Uuid::try_parse_ascii(self.uid).map_err(|_| wrong("uid", self.uid))?;
        let resource_version = text(self.resource_version).ok().and_then(version);
        let resource_version =
            resource_version.ok_or_else(|| wrong("resourceVersion", self.resource_version))?;
        // A Deployment that doesn't say how many replicas it wants runs one.
        let replicas = self.replicas.unwrap_or(1);
        if replicas < 0 {
            return Err(wrong("replicas", replicas.to_string().as_bytes()));
        }
        Ok(Deployment {
            namespace: namespace.into(),
            name: name.into(),
            uid,
            replicas,
            // It decides nothing: what can't be right is no reason to have no object.
            ready: self.ready.max(0),
            resource_version,
            deleting: self.deleting,
            attributes: attributes(&self.labels, self.annotations, self.marks(namespace, name))?,
        })
    }
}

fn attributes<'a>(
    labels: &[(&'a str, &'a [u8])],
    [min, max, protected]: [Option<&[u8]>; 3],
    marks: Marks<String>,
) -> Result<Attributes, Undecodable> {
    // Without its label an object could pass a rule that is to keep callers from it: rather no object at all.
    let label = |(key, value): &(&'a str, &'a [u8])| {
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|v| v.len() <= LABEL_VALUE);
        let text = text.ok_or_else(|| wrong("label", &[key.as_bytes(), b"=", value].concat()))?;
        Ok((*key, text))
    };
    let labels = labels.iter().map(label);
    let labels = labels.collect::<Result<Vec<_>, Undecodable>>()?;
    Ok(Attributes::marked(
        labels,
        AnnotationBounds::read(min, max, protected),
        marks,
    ))
}

/// Whether a label may be one of [`FLUX`], by the length of its key, which is the cheapest thing to look at.
fn may_be_flux(entry: &[u8]) -> bool {
    const KEY_FIRST: u8 = 1 << 3 | 2;
    match entry {
        [KEY_FIRST, length, ..] => FLUX.iter().any(|key| key.len() == usize::from(*length)),
        _ => true,
    }
}

/// The key and the value of a map's entry; one that isn't there is empty.
fn entry(message: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let (mut key, mut text) = (&[][..], &[][..]);
    each(message, |field, value| {
        match field {
            1 => key = value.bytes()?,
            2 => text = value.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, text))
}

/// The content of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed length, which no field that is read has.
    Fixed,
}

impl<'a> Value<'a> {
    pub(super) fn number(self) -> Result<u64, DecodeError> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(DecodeError::Field),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(DecodeError::Field),
        }
    }
}

/// Shows every field of a message, in the order of its bytes.
pub(super) fn each<'a>(
    mut message: &'a [u8],
    mut show: impl FnMut(u32, Value<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let take = |message: &mut &'a [u8], length: u64| {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, left) = message
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        *message = left;
        Ok::<_, DecodeError>(bytes)
    };
    while !message.is_empty() {
        let (field, kind) = decode_key(&mut message)?;
        let value = match kind {
            WireType::Varint => Value::Number(decode_varint(&mut message)?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message)?;
                Value::Bytes(take(&mut message, length)?)
            }
            WireType::ThirtyTwoBit => take(&mut message, 4).map(|_| Value::Fixed)?,
            WireType::SixtyFourBit => take(&mut message, 8).map(|_| Value::Fixed)?,
            WireType::StartGroup | WireType::EndGroup => return Err(DecodeError::Field),
        };
        show(field, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Deployment with this status, in a few bytes.
    fn with_status(status: &[u8]) -> Vec<u8> {
        let field =
            |tag: u8, content: &[u8]| [&[tag << 3 | 2, content.len() as u8], content].concat();
        let metadata = [
            field(1, b"shop"),
            field(3, b"web"),
            field(5, b"8a4d1f0c-5a3e-4f6f-9a65-0d8b5f1d2c3e"),
            field(6, b"7"),
        ];
        [field(1, &metadata.concat()), field(3, status)].concat()
    }

    #[test]
    fn ready_pods_are_read_out_of_the_status_and_fewer_than_none_are_none() {
        let read = |status: &[u8]| deployment(&with_status(status), &LabelKeys::default());
        let ready = |status: &[u8]| read(status).unwrap().ready;
        assert_eq!(ready(&[]), 0);
        // observedGeneration, a condition, readyReplicas.
        let among_others = [1 << 3, 9, 6 << 3 | 2, 2, 1 << 3 | 2, 0, 7 << 3, 0x83, 1];
        assert_eq!(ready(&among_others), 131);
        assert_eq!(ready(&[7 << 3, 5, 7 << 3, 4]), 4);
        let negative = [&[7 << 3][..], &[0xff; 9], &[1]].concat();
        assert_eq!(ready(&negative), 0);
        assert!(read(&[7 << 3 | 2, 0]).is_err());
    }
}
