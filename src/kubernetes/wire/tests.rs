use super::*;

fn object(name: &str, replicas: Option<i32>) -> Deployment {
    let metadata = ObjectMeta {
        name: name.into(),
        namespace: "web".into(),
        uid: Uuid::from_u128(7).to_string(),
        resource_version: "12".into(),
        deletion_timestamp: None,
    };
    Deployment {
        metadata: Some(metadata),
        spec: Some(DeploymentSpec { replicas }),
    }
}

fn enveloped(kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let unknown = Unknown {
        type_meta: Some(TypeMeta { kind: kind.into() }),
        raw: raw.into(),
    };
    [MAGIC, &unknown.encode_to_vec()].concat()
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<Deployment>,
}

fn page(items: Vec<Deployment>) -> Vec<u8> {
    let metadata = ListMeta {
        resource_version: "40".into(),
        continue_token: "more".into(),
    };
    enveloped(
        "DeploymentList",
        List {
            metadata: Some(metadata),
            items,
        }
        .encode_to_vec(),
    )
}

#[test]
fn a_page_is_the_same_whatever_the_size_of_its_chunks() {
    let bytes = page(
        (0..50)
            .map(|i| object(&format!("shop-{i}"), Some(i)))
            .collect(),
    );
    for size in [1, 2, 3, 7, 64, bytes.len()] {
        let mut decoder = ListDecoder::default();
        bytes.chunks(size).for_each(|c| decoder.push(c).unwrap());
        let (metadata, items, undecodable) = decoder.finish().unwrap();
        assert_eq!(
            (
                metadata.resource_version.as_str(),
                metadata.continue_token.as_str()
            ),
            ("40", "more")
        );
        assert_eq!(items.len(), 50);
        assert_eq!(items[49].replicas, 49);
        assert_eq!(undecodable, Vec::<String>::new());
    }
}

#[test]
fn a_page_cut_anywhere_is_an_error() {
    let bytes = page(vec![object("shop", Some(3))]);
    for end in 0..bytes.len() {
        let mut decoder = ListDecoder::default();
        decoder.push(&bytes[..end]).unwrap();
        assert!(decoder.finish().is_err(), "{end} of {} bytes", bytes.len());
    }
}

#[test]
fn an_object_that_cannot_be_read_is_skipped_and_the_others_live_on() {
    let mut decoder = ListDecoder::default();
    decoder
        .push(&page(vec![
            object("shop", Some(3)),
            object("Not A Name", Some(1)),
            object("cart", Some(-1)),
        ]))
        .unwrap();
    let (_, items, undecodable) = decoder.finish().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(undecodable.len(), 2);
}

#[test]
fn a_list_of_something_else_is_refused() {
    let error = ListDecoder::default()
        .push(&enveloped("PodList", Vec::new()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer is a PodList, not what was asked for"
    );
    assert!(matches!(
        ListDecoder::default().push(b"{\"kind\":"),
        Err(DecodeError::Envelope)
    ));
}

#[test]
fn absent_replicas_mean_one() {
    let deployment = store::Deployment::try_from(object("shop", None)).unwrap();
    assert_eq!(deployment.replicas, 1);
}

fn frame(kind: &str, object: Vec<u8>) -> Vec<u8> {
    let event = WatchEvent {
        kind: kind.into(),
        object: Some(RawExtension { raw: object.into() }),
    }
    .encode_to_vec();
    [&(event.len() as u32).to_be_bytes()[..], &event].concat()
}

#[test]
fn frames_are_read_byte_by_byte() {
    let shop = object("shop", Some(3));
    let status = WireStatus {
        code: 410,
        reason: "Expired".into(),
        ..WireStatus::default()
    };
    let bytes = [
        frame("ADDED", enveloped("Deployment", shop.encode_to_vec())),
        frame(
            "BOOKMARK",
            enveloped("Deployment", object("", None).encode_to_vec()),
        ),
        frame("DELETED", enveloped("Deployment", shop.encode_to_vec())),
        frame("ERROR", enveloped("Status", status.encode_to_vec())),
    ]
    .concat();
    let mut decoder = WatchDecoder::default();
    let mut frames = Vec::new();
    for byte in bytes {
        decoder.push(&[byte]);
        frames.extend(decoder.next().unwrap());
    }
    assert_eq!(
        frames[..3],
        [
            Frame::Upsert(shop.clone()),
            Frame::Bookmark(12),
            Frame::Delete(shop)
        ]
    );
    assert!(matches!(&frames[3], Frame::Error(s) if s.code == 410));
}

#[test]
fn frames_behind_an_undecodable_object_can_still_be_read() {
    let mut decoder = WatchDecoder::default();
    decoder.push(&frame("ADDED", enveloped("Pod", Vec::new())));
    decoder.push(&frame(
        "ADDED",
        enveloped("Deployment", object("shop", None).encode_to_vec()),
    ));
    assert!(decoder.next().is_err());
    assert!(matches!(decoder.next(), Ok(Some(Frame::Upsert(_)))));
}

#[test]
fn a_status_is_read_in_protobuf_in_json_and_as_words() {
    let wire = WireStatus {
        message: "gone".into(),
        code: 410,
        ..WireStatus::default()
    };
    let bodies = [
        Bytes::from(enveloped("Status", wire.encode_to_vec())),
        Bytes::from_static(
            br#"{"kind":"Status","message":"gone","details":{"retryAfterSeconds":2}}"#,
        ),
        Bytes::from_static(b"gone\nand more"),
    ];
    for body in bodies {
        let status = Status::read(410, &body);
        assert_eq!((status.message.as_str(), status.code), ("gone", 410));
    }
}
