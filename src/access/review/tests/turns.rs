//! Questions at the same time: how many, whose, and what those who left hold up.

use super::*;

/// Whether somebody may get a Deployment of this name.
async fn gets(reviewer: &Reviewer, who: &str, name: &str) -> Result<(), Denied> {
    let who = principal(who, &[]);
    reviewer
        .may(&who, Verb::Get, Some("shop"), Some(name))
        .await
}

/// So many names.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn no_more_than_sixty_four_questions_are_under_way_and_waiting_counts() {
    let cluster = cluster(|_| true);
    let slow = Rule::new(On::Review, Fault::Delay(Duration::from_millis(1_200)));
    cluster.faults().add(slow);
    let reviewer = reviewer(&cluster);
    let start = Instant::now();
    let names = names(200);
    let asking = join_all(names.iter().map(|name| gets(&reviewer, name, name)));
    let watching = async {
        sleep(Duration::from_millis(100)).await;
        let first = cluster.counts().reviews;
        sleep(Duration::from_millis(1_200)).await;
        (first, cluster.counts().reviews)
    };
    let (answers, under_way) = tokio::join!(asking, watching);
    assert_eq!(under_way, (64, 128));
    assert_eq!(start.elapsed().as_secs(), 3);
    // Two rounds were answered in time; the third was sent, and the rest was not.
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 128);
    assert_eq!(cluster.counts().reviews, 192);
}

#[tokio::test(start_paused = true)]
async fn who_asks_about_much_at_once_holds_up_nobody_else() {
    let cluster = cluster(|_| true);
    let slow = Rule::new(On::Review, Fault::Delay(Duration::from_millis(1_200)));
    cluster.faults().add(slow);
    let reviewer = reviewer(&cluster);
    let names = names(1_000);
    let flood = join_all(names.iter().map(|name| gets(&reviewer, "mallory", name)));
    let other = async {
        sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        (may_get(&reviewer, "cart").await, start.elapsed())
    };
    let (flooding, (answer, took)) = tokio::join!(flood, other);
    assert_eq!((answer, took.as_millis()), (Ok(()), 1_200));
    // Two rounds of the flood were answered in time, and the third came too late.
    assert_eq!(flooding.iter().filter(|a| a.is_ok()).count(), 32);
}

#[tokio::test(start_paused = true)]
async fn other_groups_make_no_other_user() {
    let cluster = cluster(|_| true);
    cluster.faults().add(Rule::new(On::Review, Fault::Hang));
    let reviewer = reviewer(&cluster);
    let groups = names(100);
    let mallory = groups.iter().map(|group| principal("mallory", &[group]));
    let mallory: Vec<_> = mallory.collect();
    let asking = mallory
        .iter()
        .map(|mallory| reviewer.may(mallory, Verb::List, None, None));
    let answers = join_all(asking).await;
    assert!(
        answers
            .iter()
            .all(|a| matches!(a, Err(Denied::Unavailable(_))))
    );
    assert_eq!(cluster.counts().reviews, 16);
}

#[tokio::test(start_paused = true)]
async fn questions_of_callers_who_left_hold_up_nobody() {
    let cluster = cluster(|_| true);
    let hang = Rule::new(On::Review, Fault::Hang).times(64);
    cluster.faults().add(hang);
    let reviewer = reviewer(&cluster);
    let names = names(16);
    let everybody = ["alice", "bob", "carol", "dave"];
    let asking = everybody
        .iter()
        .flat_map(|who| names.iter().map(|name| gets(&reviewer, who, name)));
    let asking = join_all(asking);
    assert!(timeout(Duration::from_secs(1), asking).await.is_err());
    assert_eq!(cluster.counts().reviews, 64);
    let start = Instant::now();
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    // The same question as one that was left.
    assert_eq!(may_get(&reviewer, "0").await, Ok(()));
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(reviewer.0.answers().sizes(), (2, 2, 0));
}
