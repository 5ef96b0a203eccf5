//! What says that it is larger than anything that Kubernetes stores.

use prost::encoding::encode_varint;

use super::super::{DecodeError, LARGEST, ListDecoder, WatchDecoder};
use crate::store::LabelKeys;

/// The start of a list's envelope, up to its length: a `DeploymentList` of so many bytes.
fn list_of(length: u64) -> Vec<u8> {
    let mut page = b"k8s\0\x0a\x10\x12\x0eDeploymentList\x12".to_vec();
    encode_varint(length, &mut page);
    page
}

#[test]
fn an_item_or_a_frame_larger_than_any_is_refused_before_it_is_buffered() {
    let labels = LabelKeys::default();
    for (length, refused) in [
        (LARGEST as u64, false),
        (LARGEST as u64 + 1, true),
        (1 << 60, true),
    ] {
        let mut decoder = ListDecoder::new(&labels);
        let mut item = vec![0x12];
        encode_varint(length, &mut item);
        let taken = decoder.push(&[list_of(1 << 62), item].concat());
        assert_eq!(
            matches!(taken, Err(DecodeError::TooLarge(n)) if n == length),
            refused,
            "{length}: {taken:?}"
        );
    }
    for (length, refused) in [
        (LARGEST as u32, false),
        (LARGEST as u32 + 1, true),
        (u32::MAX, true),
    ] {
        let mut decoder = WatchDecoder::new(Default::default());
        decoder.push(&length.to_be_bytes());
        let taken = decoder.next();
        assert_eq!(
            matches!(taken, Err(DecodeError::TooLarge(n)) if n == u64::from(length)),
            refused,
            "{length}: {taken:?}"
        );
    }
}
