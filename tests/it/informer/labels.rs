//! Labels and annotations: which are kept, and what happens when others are wanted.

use headcount::kubernetes::Managed;
use headcount::store::{Annotation, AnnotationBounds, LabelKeys};
use simkube::{Cluster, Fault, NewDeployment, On, Rule};
use tokio::time::{Instant, sleep};

use super::{empty, paged, seconds};
use crate::support::{InProcess, Sent};

/// `web/shop` and `db/store`, with two labels each.
fn labelled() -> Cluster {
    let cluster = empty();
    for (namespace, name) in [("web", "shop"), ("db", "store")] {
        let new = NewDeployment::new(namespace, name);
        let new = new.label("team", namespace).label("tier", "front");
        cluster.create(new).unwrap();
    }
    cluster
}

fn label(informer: &InProcess, key: &str) -> Option<String> {
    let snapshot = informer.status.store().snapshot();
    let record = snapshot.get("web", "shop").unwrap();
    record.label(key).map(str::to_owned)
}

fn bounds(informer: &InProcess) -> AnnotationBounds {
    let snapshot = informer.status.store().snapshot();
    snapshot.get("web", "shop").unwrap().annotation_bounds()
}

fn has(informer: &InProcess, namespace: &str, keys: &LabelKeys) -> bool {
    informer
        .status
        .store()
        .snapshot()
        .has_labels(namespace, keys)
}

fn lists_since(informer: &InProcess, start: Instant) -> usize {
    informer.sent_since(start, Sent::is_list)
}

#[tokio::test(start_paused = true)]
async fn labels_and_annotations_follow_the_cluster() {
    let cluster = labelled();
    let informer = InProcess::start(&cluster);
    let keys = informer.want_labels(&["team", "zone"]);
    informer.becomes_synced().await;
    assert!(has(&informer, "web", &keys));
    assert_eq!(label(&informer, "team"), Some("web".into()));
    assert_eq!(
        (label(&informer, "zone"), label(&informer, "tier")),
        (None, None)
    );
    assert_eq!(bounds(&informer), AnnotationBounds::default());
    cluster.set_labels("web", "shop", &[("team", "ops"), ("zone", "a")]);
    informer
        .until("labels", seconds(1), || {
            label(&informer, "team") == Some("ops".into())
                && label(&informer, "zone") == Some("a".into())
        })
        .await;
    cluster.set_annotations(
        "web",
        "shop",
        &[
            ("headcount/min-replicas", "2"),
            ("headcount/max-replicas", "many"),
            ("headcount/protected", "true"),
        ],
    );
    let expected = AnnotationBounds {
        min: Some(2),
        max: None,
        protected: true,
        malformed: Some(Annotation::MaxReplicas),
    };
    informer
        .until("bounds", seconds(1), || bounds(&informer) == expected)
        .await;
    cluster.set_annotations("web", "shop", &[]);
    cluster.set_labels("web", "shop", &[]);
    informer
        .until("none", seconds(1), || {
            bounds(&informer) == AnnotationBounds::default() && label(&informer, "team").is_none()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn new_keys_are_read_by_one_list_and_fewer_keys_by_none() {
    let cluster = labelled();
    let informer = InProcess::synced(&cluster).await;
    sleep(seconds(15)).await;
    let start = Instant::now();
    let team = informer.want_labels(&["team"]);
    assert!(!has(&informer, "web", &team));
    informer
        .until("the label", seconds(2), || has(&informer, "web", &team))
        .await;
    assert_eq!(label(&informer, "team"), Some("web".into()));
    assert_eq!(lists_since(&informer, start), 1);
    sleep(seconds(15)).await;
    // Fewer, and the same again.
    for keys in [&[][..], &["team"], &["team"]] {
        informer.want_labels(keys);
        sleep(seconds(5)).await;
    }
    assert_eq!(lists_since(&informer, start), 1);
    // Events go on bringing what the records of the scope are said to have.
    informer.want_labels(&[]);
    cluster.set_labels("web", "shop", &[("team", "ops")]);
    informer
        .until("the event", seconds(1), || {
            label(&informer, "team") == Some("ops".into())
        })
        .await;
    assert!(has(&informer, "web", &team));
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_wanted_while_a_list_is_under_way_are_read_by_the_next() {
    let cluster = paged();
    let slow = cluster
        .faults()
        .add(Rule::new(On::Page(2), Fault::Delay(seconds(3))));
    let informer = InProcess::start(&cluster);
    sleep(seconds(1)).await;
    let keys = informer.want_labels(&["team"]);
    informer.becomes_synced().await;
    assert!(
        !has(&informer, "team-0", &keys),
        "the first pages were read without"
    );
    cluster.faults().remove(slow);
    informer
        .until("the labels", seconds(6), || has(&informer, "team-0", &keys))
        .await;
    assert_eq!(cluster.counts().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn until_the_list_is_complete_no_label_is_said_to_be_known() {
    let cluster = labelled();
    let informer = InProcess::synced(&cluster).await;
    let away = cluster
        .faults()
        .add(Rule::new(On::List, Fault::status(503)));
    let keys = informer.want_labels(&["team"]);
    for _ in 0..20 {
        sleep(seconds(1)).await;
        assert!(!has(&informer, "web", &keys));
        assert_eq!(label(&informer, "team"), None);
    }
    cluster.faults().remove(away);
    informer
        .until("the labels", seconds(6), || has(&informer, "web", &keys))
        .await;
    assert_eq!(label(&informer, "team"), Some("web".into()));
}

#[tokio::test(start_paused = true)]
async fn each_of_several_namespaces_is_listed_for_new_keys() {
    let cluster = labelled();
    let managed = Managed {
        namespaces: vec!["web".into(), "db".into()],
        label_selector: None,
    };
    let informer = InProcess::managing(&cluster, managed);
    informer.becomes_synced().await;
    sleep(seconds(15)).await;
    let (start, keys) = (Instant::now(), informer.want_labels(&["team", "tier"]));
    informer
        .until("both", seconds(2), || {
            ["web", "db"]
                .iter()
                .all(|namespace| has(&informer, namespace, &keys))
        })
        .await;
    assert_eq!(lists_since(&informer, start), 2);
    let snapshot = informer.status.store().snapshot();
    let teams: Vec<_> = snapshot.records().map(|r| r.label("team")).collect();
    assert_eq!(teams, [Some("db"), Some("web")]);
}
