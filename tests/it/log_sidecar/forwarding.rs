//! Both forms, rotated files, filtered, redacted, apart.

use std::{collections::BTreeMap, fs, io::Write as _};

use serde_json::Value;

use super::{Forwarded, PATIENCE, Volumes, ids, places, write};
use crate::support::{SimCluster, eventually, lines::Line};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Enough writes that both files are rotated several times.
const WRITES: i64 = 700;

async fn everything_arrives_once_and_as_it_was(format: &str) {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let volumes = Volumes::new(format);
    let collector = volumes.collect(&[]).await;
    let serving = volumes.serve(&cluster).await;
    let traced = [
        ("traceparent", &*format!("00-{TRACE}-b7ad6b7169203331-01")),
        ("x-reason", "incident 4711"),
    ];
    write(&serving, WRITES, &traced).await;
    let ended = serving.terminated().await;
    assert_eq!(ended.code, Some(0));
    volumes.all_arrive().await;
    let files = fs::read_dir(volumes.logs()).unwrap().count();
    assert!(files > 6, "they were rotated: {files}");

    let arrived = volumes.arrived("application");
    assert_eq!(ids(&arrived), volumes.expected(), "and nothing else");
    assert_eq!(ids(&arrived).len(), arrived.len(), "none comes twice");
    let arrived: BTreeMap<_, _> = arrived
        .into_iter()
        .map(|record| {
            (
                record.attributes["record_id"].as_str().unwrap().to_owned(),
                record,
            )
        })
        .collect();
    for line in volumes.written("headcount.log") {
        let told = Line::read(&line);
        match arrived.get(told.text("record_id")) {
            Some(record) => is_the_line(record, &told, &line),
            None => assert_eq!(told.severity, "DEBUG"),
        }
    }
    let applied: Vec<_> = arrived
        .values()
        .filter(|record| record.attributes["event"] == "scale.applied")
        .collect();
    assert_eq!(applied.len() as i64, WRITES);
    assert!(applied.iter().all(|record| record.trace == TRACE));

    // The audit trail is apart, whole, and still what was signed.
    let audit = volumes.arrived("audit");
    let mut written = volumes.written("audit");
    let mut bodies: Vec<_> = audit.iter().map(|record| record.body.clone()).collect();
    written.sort();
    bodies.sort();
    assert_eq!(bodies, written);
    assert_eq!(places(&audit).len(), audit.len());
    let why = audit.iter().filter(|record| {
        let is = |name: &str, value: &str| record.attributes.get(name) == Some(&value.into());
        is("event", "scale.applied") && is("reason", "incident 4711")
    });
    assert_eq!(why.count() as i64, WRITES);
    let stream = |record: &Forwarded| record.resource["log.stream"].clone();
    assert!(audit.iter().all(|record| stream(record) == "audit"));
    assert!(
        arrived
            .values()
            .all(|record| stream(record) == "application")
    );
    drop(collector);
}

fn is_the_line(record: &Forwarded, told: &Line, line: &str) {
    assert_eq!(record.body, told.message, "{line}");
    assert_eq!(record.severity, told.severity, "{line}");
    assert_eq!(record.attributes["event"], told.event.as_str(), "{line}");
    assert_eq!(record.resource["service.name"], "headcount");
    assert_eq!(record.resource["k8s.pod.name"], "headcount-0");
    let time = match line.strip_prefix('{') {
        Some(_) => serde_json::from_str::<Value>(line).unwrap()["timestamp"]
            .as_str()
            .unwrap()
            .to_owned(),
        None => line.split(' ').next().unwrap().to_owned(),
    };
    let time: jiff::Timestamp = time.parse().unwrap();
    assert_eq!(
        i128::from(record.nanoseconds),
        time.as_nanosecond(),
        "{line}"
    );
    for (name, value) in &told.fields {
        let arrived = &record.attributes[name];
        let same = match (value, arrived) {
            (Value::Number(told), Value::Number(arrived)) => told.as_f64() == arrived.as_f64(),
            _ => value == arrived,
        };
        assert!(same, "{name}: {arrived} of {line}");
    }
    // What every record has, and the collector's own.
    assert_eq!(record.attributes.len(), told.fields.len() + 2, "{record:?}");
}

#[tokio::test]
async fn every_line_of_rotated_text_files_arrives_once_with_its_fields() {
    everything_arrives_once_and_as_it_was("text").await;
}

#[tokio::test]
async fn every_line_of_rotated_json_files_arrives_once_with_its_fields() {
    everything_arrives_once_and_as_it_was("json").await;
}

#[tokio::test]
async fn what_looks_like_a_secret_is_redacted_in_both_streams() {
    let key = headcount::pki::Authority::new("a").unwrap().key_pem();
    let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0";
    let secrets = [
        key.replace('\n', "\\n"),
        jwt.to_owned(),
        "Authorization: Bearer abcdef0123456789".to_owned(),
        "password=hunter2hunter2".to_owned(),
        "api_key: 0123456789abcdef".to_owned(),
    ];
    let volumes = Volumes::new("text");
    let (mut log, mut audit) = (String::new(), String::new());
    for (secret, number) in secrets.iter().zip(1..) {
        let time = "2026-01-02T03:04:05.678901Z";
        log += &format!(
            "{time} INFO  a.b words reason=\"before {secret} after\" next=5 record_id=\"x-{number}\"\n"
        );
        log += &format!(
            "{{\"timestamp\":\"{time}\",\"severity\":\"INFO\",\"event\":\"a.b\",\"message\":\"m {secret} n\",\"next\":5,\"record_id\":\"y-{number}\"}}\n"
        );
        audit += &format!(
            "{{\"chain\":\"c\",\"record\":{number},\"timestamp\":\"{time}\",\"event\":\"a.b\",\"reason\":\"before {secret} after\",\"hash\":\"00\"}}\n"
        );
    }
    fs::write(volumes.logs().join("headcount.log"), log).unwrap();
    fs::write(volumes.logs().join("audit.log"), audit).unwrap();
    let _collector = volumes.collect(&[]).await;
    volumes.all_arrive().await;
    for stream in ["application", "audit"] {
        let text =
            fs::read_to_string(volumes.path("collector").join(format!("{stream}.jsonl"))).unwrap();
        let in_key = key.lines().filter(|line| !line.starts_with("-----"));
        let hidden = in_key.chain([&jwt[21..30], "abcdef01", "hunter2", "0123456789"]);
        for words in hidden {
            assert!(!text.contains(words), "{stream}: {words} in {text}");
        }
    }
    for record in volumes.arrived("application") {
        assert_eq!(
            record.attributes["next"], 5,
            "what stands beside it stays: {record:?}"
        );
        assert!(!record.attributes.contains_key("unparsed"), "{record:?}");
    }
    for record in volumes.arrived("audit") {
        let reason = record.attributes["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("before ")
                && reason.ends_with(" after")
                && reason.contains("REDACTED"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_line_that_can_not_be_taken_apart_arrives_as_it_is() {
    let volumes = Volumes::new("text");
    let mut file = fs::File::create(volumes.logs().join("headcount.log")).unwrap();
    writeln!(file, "memory allocation failed").unwrap();
    writeln!(file, "{{\"half\": ").unwrap();
    writeln!(
        file,
        "2026-01-02T03:04:05.678901Z WARN  a.b words record_id=\"x-1\""
    )
    .unwrap();
    let _collector = volumes.collect(&[]).await;
    eventually(PATIENCE, "three records", async || {
        volumes.arrived("application").len() == 3
    })
    .await;
    let arrived = volumes.arrived("application");
    let mut bodies: Vec<_> = arrived
        .iter()
        .filter(|r| r.attributes.contains_key("unparsed"))
        .map(|r| &*r.body)
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["memory allocation failed", "{\"half\":"]);
}
