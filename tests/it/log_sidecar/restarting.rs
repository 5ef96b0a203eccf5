//! The collector is killed in the middle, and headcount doesn't notice.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::sleep;

use super::{Volumes, ids, places, write};
use crate::support::SimCluster;

#[tokio::test]
async fn after_kills_in_the_middle_everything_arrives_and_repetitions_have_the_same_id() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let volumes = Volumes::new("json");
    let serving = volumes.serve(&cluster).await;
    let scale = async |count: i64| serving.client.scale("web", "shop", count, &[]).await.status;
    let mut collector = volumes.collect(&[]).await;
    for kill in 1..=4 {
        for count in 0..120 {
            assert_eq!(scale(1 + count % 2).await, 200);
            if count == 60 {
                // Dropping it sends SIGKILL, in the middle of whatever it does.
                drop(collector);
                // While nobody reads the files are rotated.
                for count in 0..60 {
                    assert_eq!(scale(1 + count % 2).await, 200);
                }
                collector = volumes.collect(&[]).await;
                sleep(Duration::from_millis(150 * kill)).await;
            }
        }
    }
    serving.terminated().await;
    volumes.all_arrive().await;
    let arrived = volumes.arrived("application");
    assert_eq!(ids(&arrived), volumes.expected());
    let mut by_id = BTreeMap::new();
    for record in arrived {
        let id = record.attributes["record_id"].clone().to_string();
        // Which file it was in may have changed by a rotation in between.
        let mut content = record;
        content.attributes.remove("log.file.name");
        let first = by_id.entry(id).or_insert_with(|| content.clone());
        assert_eq!(*first, content, "a repetition is the same record");
    }
    assert_eq!(
        places(&volumes.arrived("audit")).len(),
        volumes.written("audit").len()
    );
}

#[tokio::test]
async fn without_a_collector_headcount_serves_and_its_files_stay_within_their_bounds() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let volumes = Volumes::new("json");
    let path = volumes.path("headcount.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("keep: 100", "keep: 2")).unwrap();
    let serving = volumes.serve(&cluster).await;
    write(&serving, 1000, &[]).await;
    assert_eq!(serving.terminated().await.code, Some(0));
    let files: Vec<_> = std::fs::read_dir(volumes.logs())
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .collect();
    assert!(
        files.len() <= 6 && files.iter().sum::<u64>() < 6 * 80 * 1024,
        "{files:?}"
    );
}
