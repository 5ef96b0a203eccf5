//! Files that are full.

use futures_util::future::join_all;

use super::{Audited, of};
use crate::support::SimCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_rotate_under_load_and_their_chain_has_no_gap() {
    let cluster = SimCluster::start().await;
    for name in 0..8 {
        cluster.create("web", &format!("shop-{name}"), 1);
    }
    let limits = "limits: {rates: {writes: {perSecond: 10000}, podsPerMinute: unlimited}}\n";
    let audited = Audited::new(", maxSize: 64Ki, keep: 100", limits);
    let serving = audited.serve(&cluster).await;
    let client = &serving.client;
    let writes = (0..8).map(|name| async move {
        for count in 0..30 {
            let name = format!("shop-{name}");
            let answer = client.scale("web", &name, count % 2, &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    join_all(writes).await;
    let log = audited.keep_log(&serving.terminated().await);
    assert!(audited.files().len() > 3, "{:?}", audited.files());
    let records = audited.records();
    assert_eq!(of(&records, "scale.requested").len(), 240);
    assert_eq!(of(&records, "scale.applied").len(), 240);
    let (code, words) = audited.verify(&["--log", log.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{words}");
    for path in audited.files() {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600, "{path:?}");
        assert!(metadata.size() < 2 * 64 * 1024, "{path:?}");
    }
}

#[tokio::test]
async fn only_so_many_rotated_files_are_kept_and_the_log_says_which_were_removed() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let limits = "limits: {rates: {writes: {perSecond: 10000}}}\n";
    let audited = Audited::new(", maxSize: 64Ki, keep: 2", limits);
    let serving = audited.serve(&cluster).await;
    // 700 bytes each.
    for _ in 0..450 {
        let path = "/namespaces/web/deployments/shop/replicas";
        let answer = serving.client.send(http::Method::PUT, path, &[], "").await;
        assert_eq!(answer.status, 415);
    }
    let ended = serving.terminated().await;
    assert_eq!(audited.files().len(), 3, "{:?}", audited.files());
    assert!(
        ended
            .stderr
            .iter()
            .any(|line| line.contains("audit.file.removed"))
    );
    let (code, words) = audited.verify(&[]).await;
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("aren't in these files"), "{words}");
}

#[tokio::test]
async fn a_file_that_somebody_moved_away_is_gone_on_with_in_another_one() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let audited = Audited::new("", "");
    let serving = audited.serve(&cluster).await;
    assert_eq!(
        serving.client.scale("web", "shop", 2, &[]).await.status,
        200
    );
    std::fs::rename(audited.file(), audited.folder.path().join("moved.log")).unwrap();
    assert_eq!(
        serving.client.scale("web", "shop", 3, &[]).await.status,
        200
    );
    serving.program.line("audit.file.replaced", 1).await;
    let log = audited.keep_log(&serving.terminated().await);
    let (code, words) = audited.verify(&["--log", log.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{words}");
    assert_eq!(of(&audited.records(), "scale.applied").len(), 2);
}

#[tokio::test]
async fn a_file_that_somebody_cut_is_said_in_the_log_and_found() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let audited = Audited::new("", "");
    let serving = audited.serve(&cluster).await;
    assert_eq!(
        serving.client.scale("web", "shop", 2, &[]).await.status,
        200
    );
    std::fs::OpenOptions::new()
        .write(true)
        .open(audited.file())
        .unwrap()
        .set_len(0)
        .unwrap();
    assert_eq!(
        serving.client.scale("web", "shop", 3, &[]).await.status,
        200
    );
    serving.program.line("audit.file.changed", 1).await;
    serving.terminated().await;
    let (code, words) = audited.verify(&[]).await;
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("the beginning of the file is missing"),
        "{words}"
    );
}
