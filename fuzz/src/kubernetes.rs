//! Any bytes as a page of a list, or as a watch, of the API server. The first byte says how they are split into chunks.

use std::sync::Arc;

use headcount::{
    kubernetes::decoding::{self, Frame},
    store::{Deployment, LabelKeys},
};

/// Bytes of memory that what was read may take for each byte that arrived, and for being there at all.
const FACTOR: usize = 64;

pub(crate) fn list(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let labels: LabelKeys = ["team", "tier"].into_iter().collect();
    let whole = decoding::list([bytes], &labels);
    let pieces = decoding::list(bytes.chunks(usize::from(size).max(1)), &labels);
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole, pieces);
            let (_, deployments, undecodable) = whole;
            deployments.iter().for_each(check);
            let words: usize = undecodable.iter().map(String::len).sum();
            assert!(
                words + deployments.len() <= FACTOR * bytes.len(),
                "{words} bytes of errors"
            );
        }
        (Err(whole), Err(pieces)) => {
            // Which of several faults is met first depends on what has arrived.
            for words in [whole, pieces] {
                assert!(words.len() < 1000 && !words.contains('\n'), "{words}");
            }
        }
        (whole, pieces) => panic!("{whole:?} is not {pieces:?}"),
    }
}

pub(crate) fn watch(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let labels: Arc<LabelKeys> = Arc::new(["team", "tier"].into_iter().collect());
    let whole = decoding::watch([bytes], &labels);
    let pieces = decoding::watch(bytes.chunks(usize::from(size).max(1)), &labels);
    assert_eq!(whole, pieces);
    // A frame has four bytes of length at least.
    assert!(whole.len() <= bytes.len() / 4 + 1);
    for frame in whole {
        match frame {
            Ok(Frame::Upsert(deployment) | Frame::Delete(deployment)) => check(&deployment),
            Ok(Frame::Bookmark(version)) => assert!(version > 0),
            Ok(Frame::Error { message, .. }) => assert!(message.len() <= 4 * 4096),
            Err(words) => assert!(words.len() < 1000 && !words.contains('\n'), "{words}"),
        }
    }
}

/// Whether the store can take it.
fn check(deployment: &Deployment) {
    assert!(headcount::name::is_namespace(&deployment.namespace));
    assert!(headcount::name::is_deployment(&deployment.name));
    assert!(deployment.replicas >= 0 && deployment.resource_version > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_starts_from_lists_and_watches_that_are_read() {
        let labels = Arc::default();
        let listed = crate::inputs("list");
        let mut listed = listed
            .iter()
            .filter_map(|i| decoding::list([&i[1..]], &labels).ok());
        assert!(listed.any(|(_, deployments, _)| !deployments.is_empty()));
        let watched = crate::inputs("watch");
        let mut watched = watched
            .iter()
            .flat_map(|i| decoding::watch([&i[1..]], &labels));
        assert!(watched.any(|frame| matches!(frame, Ok(Frame::Upsert(_)))));
    }
}
