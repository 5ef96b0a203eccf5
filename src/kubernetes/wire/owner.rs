//! Who owns the count of a Deployment, out of its managed fields in protobuf: read only of those whose count changed.

use jiff::Timestamp;

use super::{
    DecodeError,
    object::{Value, each},
};
use crate::kubernetes::{FieldOwner, details::OwnedFields};

/// An entry of managed fields (meta/v1 ManagedFieldsEntry).
#[derive(Default)]
struct Entry<'a> {
    manager: &'a [u8],
    seconds: Option<i64>,
    /// In JSON.
    fields: &'a [u8],
    subresource: &'a [u8],
}

/// The owner of the count of a Deployment; of several, who set the same, the latest. `None` if it has none or can't be read.
pub(in crate::kubernetes) fn owner(deployment: &[u8]) -> Option<FieldOwner> {
    let mut owners = Vec::new();
    let read = each(deployment, |field, value| match field {
        1 => each(value.bytes()?, |field, value| {
            if field == 17 {
                owners.extend(Entry::read(value)?.owner());
            }
            Ok(())
        }),
        _ => Ok(()),
    });
    read.ok()?;
    // These times sort as text.
    owners.into_iter().max_by(|a, b| a.time.cmp(&b.time))
}

impl<'a> Entry<'a> {
    fn read(value: Value<'a>) -> Result<Self, DecodeError> {
        let mut this = Self::default();
        each(value.bytes()?, |field, value| {
            match field {
                1 => this.manager = value.bytes()?,
                4 => each(value.bytes()?, |field, value| {
                    if field == 1 {
                        this.seconds = Some(value.number()? as i64);
                    }
                    Ok(())
                })?,
                7 => each(value.bytes()?, |field, value| {
                    if field == 1 {
                        this.fields = value.bytes()?;
                    }
                    Ok(())
                })?,
                8 => this.subresource = value.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(this)
    }

    fn owner(self) -> Option<FieldOwner> {
        /// The longest name that Kubernetes takes, in bytes.
        const LONGEST: usize = 128;
        let fields: OwnedFields = serde_json::from_slice(self.fields).ok()?;
        if !fields.have_count() {
            return None;
        }
        let text = |bytes: &[u8]| {
            let start = bytes.get(..LONGEST).unwrap_or(bytes);
            String::from_utf8_lossy(start).into_owned()
        };
        let time = self.seconds.and_then(|s| Timestamp::from_second(s).ok());
        let time = time.map(|time| time.to_string());
        Some(FieldOwner::new(
            text(self.manager),
            time,
            text(self.subresource),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of these bytes, of a tag up to 31.
    fn field(tag: u8, content: &[u8]) -> Vec<u8> {
        let key: &[u8] = match tag {
            0..16 => &[tag << 3 | 2],
            _ => &[(tag << 3 | 2) | 0x80, 1],
        };
        let length = [(content.len() as u8) | 0x80, (content.len() >> 7) as u8];
        [key, &length, content].concat()
    }

    fn entry(manager: &str, seconds: Option<u8>, fields: &str) -> Vec<u8> {
        let time = seconds.map(|s| field(4, &[1 << 3, s]));
        let parts = [
            field(1, manager.as_bytes()),
            time.unwrap_or_default(),
            field(7, &field(1, fields.as_bytes())),
            field(8, b"scale"),
        ];
        field(17, &parts.concat())
    }

    fn of(entries: &[Vec<u8>]) -> Option<FieldOwner> {
        owner(&field(1, &entries.concat()))
    }

    const COUNT: &str =
        r#"{"f:metadata":{"f:labels":{}},"f:spec":{"f:template":{},"f:replicas":{}}}"#;

    #[test]
    fn the_owner_is_who_has_the_count_among_its_fields() {
        let other = entry(
            "kubectl",
            Some(9),
            r#"{"f:spec":{"f:template":{"f:replicas":{}}}}"#,
        );
        assert_eq!(of(&[]), None);
        assert_eq!(of(std::slice::from_ref(&other)), None);
        let ours = entry(
            "headcount:alice@2026-11-28T09:00:00Z#0123456789abcdef",
            None,
            COUNT,
        );
        let owner = of(&[other, ours]).unwrap();
        assert_eq!(owner.principal.as_deref(), Some("alice"));
        assert_eq!(owner.subresource, "scale");
        let two = [
            entry("a", Some(5), COUNT),
            entry("b", Some(7), COUNT),
            entry("c", None, COUNT),
        ];
        let latest = of(&two).unwrap();
        assert_eq!(
            (&*latest.manager, latest.time.as_deref()),
            ("b", Some("1970-01-01T00:00:07Z"))
        );
    }

    #[test]
    fn what_can_not_be_read_has_no_owner() {
        let good = entry("a", Some(5), COUNT);
        for end in 0..good.len() {
            assert_eq!(of(&[good[..end].to_vec()]), None, "{end}");
        }
        assert_eq!(of(&[entry("a", None, "{")]), None);
        assert_eq!(of(&[field(17, &[1 << 3, 7])]), None);
        assert_eq!(owner(&[0x0b]), None);
        let long = of(&[entry(&"x".repeat(300), None, COUNT)]).unwrap();
        assert_eq!(long.manager.len(), 128);
    }
}
