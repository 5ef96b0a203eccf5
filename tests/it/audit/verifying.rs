//! `headcount audit verify`, as somebody who looks into a trail has it.

use super::{Audited, verify};
use crate::support::SimCluster;

#[tokio::test]
async fn tampering_is_found_named_and_told_apart_by_exit_codes() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let audited = Audited::new("", "");
    let serving = audited.serve(&cluster).await;
    for count in 2..6 {
        assert_eq!(
            serving.client.scale("web", "shop", count, &[]).await.status,
            200
        );
    }
    let ended = serving.terminated().await;
    let log = audited.keep_log(&ended);
    let log = ["--log", log.to_str().unwrap()];
    let path = audited.file();
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let (code, words) = audited.verify(&log).await;
    assert_eq!(code, 0, "{words}");
    let tampered = async |text: String, more: &[&str]| {
        std::fs::write(&path, text).unwrap();
        audited.verify(more).await
    };
    let (code, words) = tampered(whole.replacen("\"to\":3", "\"to\":2", 1), &[]).await;
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("audit.log line 5: record 5 was edited"),
        "{words}"
    );
    let (code, words) = tampered([&lines[..4], &lines[5..]].concat().concat(), &[]).await;
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("line 5: record 5 is missing before record 6"),
        "{words}"
    );
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let (code, words) = tampered(swapped.concat(), &[]).await;
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("it was moved or repeated"), "{words}");
    // A cut-off end leaves no trace in the file.
    let cut = lines[..8].concat();
    assert_eq!(tampered(cut.clone(), &[]).await.0, 0);
    let (code, words) = tampered(cut.clone(), &log).await;
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains(
            "the end was cut off: the log's checkpoint has 11 records, and the last one is 8"
        ),
        "{words}"
    );
    let checkpoint = headcount::audit::in_log(
        ended
            .stderr
            .iter()
            .rfind(|l| l.contains("audit.checkpoint"))
            .unwrap(),
    )
    .unwrap();
    for known in [
        &["--count", "11"][..],
        &["--head", &checkpoint.head],
        &["--head", &checkpoint.head, "--count", "11"],
    ] {
        assert_eq!(tampered(cut.clone(), known).await.0, 1);
        assert_eq!(tampered(whole.clone(), known).await.0, 0);
    }
}

#[tokio::test]
async fn what_nothing_can_be_found_out_of_is_exit_code_64_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.log");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, why) in [
        (
            &["/nonexistent/audit.log"][..],
            "failed to read the audit file",
        ),
        (&[empty, "--log", empty], "has no checkpoint"),
        (
            &[empty, "--log", "/nonexistent/log"],
            "failed to read the log",
        ),
        (&[empty, "--head", "12"], "64 hexadecimal digits"),
        (&[], "FILE"),
    ] {
        let (code, words) = verify(arguments).await;
        assert_eq!(code, 64, "{words}");
        assert!(words.contains(why), "{words}");
    }
    let (code, words) = verify(&[empty]).await;
    assert_eq!(code, 1, "{words}");
}
