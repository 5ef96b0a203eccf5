mod limits;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::store::{self, Annotation, AnnotationBounds};

#[derive(Clone, PartialEq, Message)]
struct Present {}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<Present>,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct DeploymentSpec {
    #[prost(int32, optional, tag = "1")]
    replicas: Option<i32>,
}

/// A Deployment as prost writes it.
#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<DeploymentSpec>,
}

fn read(object: &Written, wanted: &[&str]) -> Result<Deployment, DecodeError> {
    object::deployment(&object.encode_to_vec(), &wanted.iter().copied().collect())
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(owned).collect()
}

fn with(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Written {
    let mut object = object("shop", Some(3));
    let metadata = object.metadata.as_mut().unwrap();
    metadata.labels = pairs(labels);
    metadata.annotations = pairs(annotations);
    object
}

/// The attributes of the object that these bytes are, in a store.
fn kept(bytes: &[u8], wanted: &[&str]) -> (Vec<(String, String)>, AnnotationBounds) {
    let keys: LabelKeys = wanted.iter().copied().collect();
    let deployment = object::deployment(bytes, &keys).unwrap();
    let store = crate::store::Store::new(&[]);
    let (key, version) = ((deployment.namespace.clone(), deployment.name.clone()), 12);
    store.apply(
        store.scopes()[0].0,
        vec![crate::store::Event::Upsert(deployment)],
        version,
    );
    let snapshot = store.snapshot();
    let record = snapshot.get(&key.0, &key.1).unwrap();
    let labels = ["app", "team", "tier"]
        .iter()
        .filter_map(|k| record.label(k).map(|v| ((*k).to_owned(), v.to_owned())));
    (labels.collect(), record.annotation_bounds())
}

fn field(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(tag, &content.to_vec(), &mut out);
    out
}

/// A Deployment with these bytes at the end of its metadata.
fn with_metadata(more: &[u8]) -> Vec<u8> {
    let whole = object("shop", Some(3));
    let metadata = whole.metadata.clone().unwrap().encode_to_vec();
    field(1, &[&metadata, more].concat())
}

#[test]
fn only_the_wanted_labels_are_kept() {
    let object = with(
        &[("app", "shop"), ("team", "web"), ("zone", "a")],
        &[("team", "no label")],
    );
    let bytes = object.encode_to_vec();
    let labels = |wanted: &[&str]| kept(&bytes, wanted).0;
    assert_eq!(labels(&[]), []);
    assert_eq!(labels(&["team", "tier"]), [("team".into(), "web".into())]);
    assert_eq!(labels(&["app", "team"]).len(), 2);
    assert_eq!(labels(&["tea", "teams", ""]), []);
    let plain = read(&with(&[("app", "shop")], &[("note", "x")]), &["team"]).unwrap();
    assert_eq!(plain.attributes, store::Attributes::default());
}

#[test]
fn the_bounds_are_read_whatever_labels_are_wanted() {
    let object = with(
        &[],
        &[
            ("headcount/max-replicas", "9"),
            ("headcount/min-replicas", "2"),
            ("headcount/protected", "true"),
            ("other/min-replicas", "7"),
        ],
    );
    let (_, bounds) = kept(&object.encode_to_vec(), &[]);
    let expected = AnnotationBounds {
        min: Some(2),
        max: Some(9),
        protected: true,
        malformed: None,
    };
    assert_eq!(bounds, expected);
}

#[test]
fn a_malformed_annotation_is_kept_as_such() {
    for value in ["", "nine", "9.0", "-9", "99999999999", &"9".repeat(200_000)] {
        let object = with(
            &[],
            &[
                ("headcount/max-replicas", value),
                ("headcount/min-replicas", "2"),
            ],
        );
        let (_, bounds) = kept(&object.encode_to_vec(), &[]);
        assert_eq!(bounds.malformed, Some(Annotation::MaxReplicas));
        assert_eq!((bounds.min, bounds.max), (Some(2), None));
    }
    let raw = [field(1, b"headcount/protected"), field(2, b"\xfftrue")].concat();
    let (_, bounds) = kept(&with_metadata(&field(12, &raw)), &[]);
    assert_eq!(bounds.malformed, Some(Annotation::Protected));
}

#[test]
fn of_repeated_keys_and_fields_the_last_one_counts() {
    let entry = |tag, key: &str, value: &str| {
        field(
            tag,
            &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat(),
        )
    };
    let bytes = with_metadata(
        &[
            field(11, &[field(1, b"team"), field(2, b"\xff")].concat()),
            entry(11, "team", "db"),
            entry(12, "headcount/min-replicas", "x"),
            entry(11, "team", "web"),
            entry(12, "headcount/min-replicas", "4"),
            field(
                11,
                &[field(2, b"back"), field(1, b"app"), field(1, b"tier")].concat(),
            ),
            field(6, b"13"),
        ]
        .concat(),
    );
    let (labels, bounds) = kept(&bytes, &["app", "team", "tier"]);
    assert_eq!(
        labels,
        [
            ("team".into(), "web".into()),
            ("tier".into(), "back".into())
        ]
    );
    assert_eq!((bounds.min, bounds.malformed), (Some(4), None));
    // A message in two parts is one message.
    let more = field(1, &entry(11, "team", "ops"));
    let deployment = object::deployment(&[bytes, more].concat(), &["team"].into_iter().collect());
    let expected = store::Attributes::new([("team", "ops")], bounds);
    let deployment = deployment.unwrap();
    assert_eq!(deployment.attributes, expected);
    assert_eq!(
        (&*deployment.name, deployment.resource_version),
        ("shop", 13)
    );
}

#[test]
fn an_entry_without_a_value_is_an_empty_label() {
    let (labels, _) = kept(&with_metadata(&field(11, &field(1, b"team"))), &["team"]);
    assert_eq!(labels, [("team".into(), String::new())]);
}

#[test]
fn a_wanted_label_that_kubernetes_would_not_store_makes_the_object_undecodable() {
    let bad = |value: &[u8]| {
        let entry = field(11, &[field(1, b"team"), field(2, value)].concat());
        let bytes = with_metadata(&entry);
        assert!(object::deployment(&bytes, &LabelKeys::default()).is_ok());
        object::deployment(&bytes, &["team"].into_iter().collect())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        bad(b"we\xffb"),
        "failed to read a Deployment: its label is \"team=we\u{fffd}b\""
    );
    assert!(bad("x".repeat(64).as_bytes()).contains("its label is \"team=xxx"));
    assert!(bad(&vec![b'x'; 1 << 20]).len() < 200);
}

#[test]
fn a_bad_label_does_not_keep_what_was_deleted() {
    let entry = field(11, &[field(1, b"team"), field(2, b"\xff")].concat());
    let mut decoder = WatchDecoder::new(Arc::new(["team"].into_iter().collect()));
    decoder.push(&frame(
        "MODIFIED",
        enveloped("Deployment", with_metadata(&entry)),
    ));
    decoder.push(&frame(
        "DELETED",
        enveloped("Deployment", with_metadata(&entry)),
    ));
    assert!(decoder.next().is_err());
    assert!(matches!(decoder.next(), Ok(Some(Frame::Delete(_)))));
}

#[test]
fn a_deployment_cut_anywhere_or_of_other_types_is_an_error_and_never_a_panic() {
    let bytes = with(&[("team", "web")], &[("headcount/protected", "true")]).encode_to_vec();
    let metadata = bytes.len() - 4;
    let keys = ["team"].into_iter().collect();
    for end in 0..bytes.len() {
        // Between metadata and spec nothing is missing that must be there.
        assert_eq!(
            object::deployment(&bytes[..end], &keys).is_ok(),
            end == metadata,
            "{end}"
        );
    }
    let number = |tag| {
        let mut out = Vec::new();
        prost::encoding::uint64::encode(tag, &7, &mut out);
        out
    };
    for tag in [1, 3, 5, 6, 9, 11, 12] {
        assert!(
            object::deployment(&with_metadata(&number(tag)), &keys).is_err(),
            "{tag}"
        );
    }
    for (tag, good) in [(1, false), (2, false), (3, false), (4, true)] {
        let bytes = [with_metadata(&[]), number(tag)].concat();
        assert_eq!(object::deployment(&bytes, &keys).is_ok(), good, "{tag}");
    }
    // Fields of a fixed length, groups, and a length that overflows.
    for (more, good) in [
        (&[0xfd, 1, 1, 2, 3, 4][..], true),
        (&[0xf9, 1, 1, 2, 3, 4, 5, 6, 7, 8], true),
        (&[0xfd, 1, 1, 2, 3], false),
        (&[0xfb, 1, 0xfc, 1], false),
        (
            &[
                0x5a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            false,
        ),
    ] {
        assert_eq!(
            object::deployment(&with_metadata(more), &keys).is_ok(),
            good,
            "{more:?}"
        );
    }
}

fn object(name: &str, replicas: Option<i32>) -> Written {
    let metadata = ObjectMeta {
        name: name.into(),
        namespace: "web".into(),
        uid: Uuid::from_u128(7).to_string(),
        resource_version: "12".into(),
        ..ObjectMeta::default()
    };
    Written {
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
    items: Vec<Written>,
}

fn page(items: Vec<Written>) -> Vec<u8> {
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
        let keys = LabelKeys::default();
        let mut decoder = ListDecoder::new(&keys);
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
        let keys = LabelKeys::default();
        let mut decoder = ListDecoder::new(&keys);
        decoder.push(&bytes[..end]).unwrap();
        assert!(decoder.finish().is_err(), "{end} of {} bytes", bytes.len());
    }
}

#[test]
fn an_object_that_cannot_be_read_is_skipped_and_the_others_live_on() {
    let keys = LabelKeys::default();
    let mut decoder = ListDecoder::new(&keys);
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
    let pods = ListDecoder::new(&LabelKeys::default()).push(&enveloped("PodList", Vec::new()));
    let said = r#"the answer is a "PodList", not what was asked for"#;
    assert_eq!(pods.unwrap_err().to_string(), said);
    let json = ListDecoder::new(&LabelKeys::default()).push(b"{\"kind\":");
    assert!(matches!(json, Err(DecodeError::Envelope)));
}

#[test]
fn what_came_instead_is_told_in_one_short_line() {
    let kind = format!("Pod\n{}", "x".repeat(1 << 20));
    let list = enveloped(&kind, Vec::new());
    let listed = ListDecoder::new(&LabelKeys::default()).push(&list);
    let mut decoder = WatchDecoder::new(Arc::default());
    decoder.push(&[frame("ADDED", list), frame(&kind, Vec::new())].concat());
    let errors = [listed.err(), decoder.next().err(), decoder.next().err()];
    for said in errors.map(|error| error.unwrap().to_string()) {
        assert!(said.len() < 100 && said.contains(r#""Pod\nxxx"#), "{said}");
    }
}

#[test]
fn absent_replicas_mean_one() {
    let deployment = read(&object("shop", None), &[]).unwrap();
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
    let mut decoder = WatchDecoder::new(Arc::default());
    let mut frames = Vec::new();
    for byte in bytes {
        decoder.push(&[byte]);
        frames.extend(decoder.next().unwrap());
    }
    assert_eq!(
        frames[..3],
        [
            Frame::Upsert(read(&shop, &[]).unwrap()),
            Frame::Bookmark(12),
            Frame::Delete(read(&shop, &[]).unwrap())
        ]
    );
    assert!(matches!(&frames[3], Frame::Error(s) if s.code == 410));
}

#[test]
fn frames_behind_an_undecodable_object_can_still_be_read() {
    let mut decoder = WatchDecoder::new(Arc::default());
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

proptest::proptest! {
    #[test]
    fn bytes_that_were_changed_are_read_or_refused(changes in proptest::collection::vec((0usize..200, 0u8..), 1..6)) {
        let mut bytes = with(&[("team", "web")], &[("headcount/max-replicas", "7")]).encode_to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(read) = object::deployment(&bytes, &["team"].into_iter().collect()) {
            proptest::prop_assert!(read.replicas >= 0 && !read.name.is_empty());
        }
    }
}
