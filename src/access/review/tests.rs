use futures_util::future::join_all;
use simkube::{Cluster, Fault, On, Options, Rule, Verdict as Decided};
use tokio::time::{advance, sleep};

use super::*;
use crate::access::NameKind;

mod turns;

fn cluster(allows: fn(&simkube::AccessReview) -> bool) -> Cluster {
    let cluster = Cluster::new(Options::default());
    cluster.set_authorizer(move |review| Decided::allowed(allows(review)));
    cluster
}

fn reviews(cluster: &Cluster) -> AccessReviews {
    let client = kube::Client::new(cluster.service(), "default");
    AccessReviews::new(client, &Arc::default())
}

fn reviewer(cluster: &Cluster) -> Reviewer {
    Reviewer::new(reviews(cluster), KubernetesNames::default(), Arc::default())
}

fn principal(name: &str, groups: &[&str]) -> Principal {
    Principal {
        name: name.to_owned(),
        kind: NameKind::CommonName,
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
    }
}

fn alice() -> Principal {
    principal("alice", &[])
}

/// Whether alice may get a Deployment of this name.
async fn may_get(reviewer: &Reviewer, name: &str) -> Result<(), Denied> {
    let alice = alice();
    reviewer
        .may(&alice, Verb::Get, Some("shop"), Some(name))
        .await
}

fn unavailable(answer: Result<(), Denied>) -> AccessReviewError {
    match answer {
        Err(Denied::Unavailable(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn is_no<T: fmt::Debug>(answer: &Result<T, Denied>) -> bool {
    matches!(answer, Err(Denied::No { .. }))
}

/// What was asked, a line each: user, groups, verb, resource, namespace, name.
fn asked(cluster: &Cluster) -> Vec<String> {
    let line = |r: simkube::AccessReview| {
        format!(
            "{} {:?} {} {}.{} {}/{}",
            r.user, r.groups, r.verb, r.resource, r.group, r.namespace, r.name
        )
    };
    cluster.reviews().into_iter().map(line).collect()
}

#[tokio::test]
async fn each_verb_is_asked_for_as_the_request_that_rbac_knows() {
    let cluster = cluster(|_| true);
    let reviewer = reviewer(&cluster);
    let alice = principal("alice", &["oncall"]);
    for verb in [Verb::Get, Verb::Scale, Verb::Image, Verb::Restart] {
        let may = reviewer.may(&alice, verb, Some("shop"), Some("cart")).await;
        assert_eq!(may, Ok(()));
    }
    for verb in [Verb::List, Verb::Watch] {
        assert_eq!(reviewer.may(&alice, verb, Some("shop"), None).await, Ok(()));
        assert_eq!(reviewer.may(&alice, verb, None, None).await, Ok(()));
    }
    let who = r#"headcount:alice ["headcount:oncall"]"#;
    assert_eq!(
        asked(&cluster),
        [
            format!("{who} get deployments.apps shop/cart"),
            format!("{who} update deployments/scale.apps shop/cart"),
            // To set an image and to restart are both a patch, and asked once.
            format!("{who} patch deployments.apps shop/cart"),
            format!("{who} list deployments.apps shop/"),
            format!("{who} list deployments.apps /"),
            format!("{who} watch deployments.apps shop/"),
            format!("{who} watch deployments.apps /"),
        ]
    );
}

#[tokio::test]
async fn a_no_names_the_permission_that_is_missing_and_the_user_that_needs_it() {
    let cluster = cluster(|review| review.name == "cart");
    let reviewer = reviewer(&cluster);
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    let no = may_get(&reviewer, "search").await;
    assert!(is_no(&no));
    assert_eq!(
        no.unwrap_err().to_string(),
        "the cluster doesn't let its user \"headcount:alice\" get deployments (apiGroup apps) named \"search\" in the namespace \
         \"shop\": have a role that allows it bound to this user, or to one of its groups"
    );
    let no = reviewer.may(&alice(), Verb::Scale, None, None).await;
    let words = no.unwrap_err().to_string();
    assert!(
        words.contains("update deployments/scale (apiGroup apps) in all namespaces:"),
        "{words}"
    );
}

#[tokio::test]
async fn kubernetes_own_groups_mean_nothing_and_others_get_the_prefix() {
    let cluster = cluster(|r| r.groups.iter().any(|g| g.contains("masters")));
    let reviewer = reviewer(&cluster);
    let mallory = principal("mallory", &["system:masters", "system:authenticated", ""]);
    let may = reviewer.may(&mallory, Verb::Scale, Some("shop"), Some("cart"));
    assert!(is_no(&may.await));
    let many = principal("carol", &["b", "a", "system:nodes", "b"]);
    assert!(is_no(&reviewer.may(&many, Verb::List, None, None).await));
    assert_eq!(
        asked(&cluster),
        [
            "headcount:mallory [] update deployments/scale.apps shop/cart",
            r#"headcount:carol ["headcount:a", "headcount:b"] list deployments.apps /"#
        ]
    );
}

#[tokio::test]
async fn a_prefix_and_a_name_together_make_none_of_kubernetes_own() {
    let cluster = cluster(|_| true);
    let names = KubernetesNames {
        user_prefix: "sys".to_owned(),
        group_prefix: "system".to_owned(),
    };
    let reviewer = Reviewer::new(reviews(&cluster), names, Arc::default());
    let mallory = principal("tem:admin", &[":masters", "s"]);
    let may = reviewer.may(&mallory, Verb::Get, Some("shop"), Some("cart"));
    assert!(is_no(&may.await));
    assert_eq!(cluster.counts().reviews, 0, "nothing is asked about it");
    let trent = principal("trent", &[":masters", "s"]);
    assert_eq!(reviewer.may(&trent, Verb::List, None, None).await, Ok(()));
    assert_eq!(
        asked(&cluster),
        [r#"systrent ["systems"] list deployments.apps /"#]
    );
}

#[tokio::test(start_paused = true)]
async fn a_yes_and_a_no_are_used_for_ten_seconds_and_no_longer() {
    let cluster = cluster(|review| review.name == "cart");
    let reviewer = reviewer(&cluster);
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    assert!(is_no(&may_get(&reviewer, "search").await));
    cluster.set_authorizer(|review| Decided::allowed(review.name == "search"));
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    assert!(is_no(&may_get(&reviewer, "search").await));
    assert_eq!(cluster.counts().reviews, 2);
    advance(Duration::from_millis(1)).await;
    assert!(is_no(&may_get(&reviewer, "cart").await));
    assert_eq!(may_get(&reviewer, "search").await, Ok(()));
    assert_eq!(cluster.counts().reviews, 4);
}

#[tokio::test(start_paused = true)]
async fn an_answers_age_counts_from_the_question() {
    let cluster = cluster(|_| true);
    let slow = Rule::new(On::Review, Fault::Delay(Duration::from_secs(2)));
    cluster.faults().add(slow.times(1));
    let reviewer = reviewer(&cluster);
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    cluster.set_authorizer(|_| Decided::allowed(false));
    advance(Duration::from_millis(7_990)).await;
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    advance(Duration::from_millis(10)).await;
    assert!(is_no(&may_get(&reviewer, "cart").await));
}

#[tokio::test]
async fn an_answer_is_for_one_caller_one_verb_and_one_object() {
    let cluster = cluster(|review| {
        let bare = review.user == "headcount:alice" && review.groups.is_empty();
        bare && (review.verb.as_str(), review.name.as_str()) == ("get", "cart")
    });
    let reviewer = reviewer(&cluster);
    let (shop, cart) = (Some("shop"), Some("cart"));
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    for (who, verb, namespace, name) in [
        (alice(), Verb::Scale, shop, cart),
        (alice(), Verb::Get, shop, Some("search")),
        (alice(), Verb::Get, shop, None),
        (alice(), Verb::Get, None, None),
        (principal("bob", &[]), Verb::Get, shop, cart),
        (principal("alice", &["oncall"]), Verb::Get, shop, cart),
    ] {
        let may = reviewer.may(&who, verb, namespace, name).await;
        assert!(is_no(&may), "{who:?} {verb} {namespace:?} {name:?}");
    }
    assert_eq!(cluster.counts().reviews, 7);
}

#[tokio::test(start_paused = true)]
async fn equal_questions_at_the_same_time_are_one() {
    let cluster = cluster(|review| review.name == "cart");
    let slow = Rule::new(On::Review, Fault::Delay(Duration::from_secs(1)));
    cluster.faults().add(slow);
    let reviewer = reviewer(&cluster);
    let names = ["cart", "search"].into_iter().cycle().take(100);
    let answers = join_all(names.map(|name| may_get(&reviewer, name))).await;
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 50);
    assert_eq!(answers.iter().filter(|a| is_no(*a)).count(), 50);
    assert_eq!(cluster.counts().reviews, 2);
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_denial_after_three_seconds_and_is_not_remembered() {
    let cluster = cluster(|_| true);
    let hang = cluster.faults().add(Rule::new(On::Review, Fault::Hang));
    let reviewer = reviewer(&cluster);
    let start = Instant::now();
    let error = unavailable(may_get(&reviewer, "cart").await);
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(
        Denied::from(error).to_string(),
        "the cluster didn't say whether this is allowed: the Kubernetes API didn't answer within 3 s"
    );
    cluster.faults().remove(hang);
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
}

#[tokio::test]
async fn whatever_is_no_clear_answer_is_a_denial_and_is_not_remembered() {
    let cluster = cluster(|_| true);
    let reviewer = reviewer(&cluster);
    for fault in [
        Fault::status(404),
        Fault::status(422),
        Fault::status(429),
        Fault::status(500),
        Fault::status(503),
        Fault::Unauthorized,
        Fault::Refuse,
        Fault::Garbage,
        Fault::WrongKind,
        Fault::Truncate,
        Fault::Break,
    ] {
        let rule = cluster.faults().add(Rule::new(On::Review, fault.clone()));
        let name = format!("{fault:?}");
        unavailable(may_get(&reviewer, &name).await);
        cluster.faults().remove(rule);
        assert_eq!(may_get(&reviewer, &name).await, Ok(()), "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_this_servers_account_does_not_name_the_account() {
    let cluster = cluster(|_| true);
    let user = "system:serviceaccount:headcount:headcount".to_owned();
    let fault = Fault::Forbidden { user };
    cluster.faults().add(Rule::new(On::Review, fault));
    let error = unavailable(may_get(&reviewer(&cluster), "cart").await);
    let AccessReviewError::Credentials { words } = &error else {
        panic!("{error:?}")
    };
    let expected = "cannot create resource \"subjectaccessreviews\" in API group \"authorization.k8s.io\" at the cluster scope";
    assert!(words.contains(expected), "{words}");
    let told = Denied::from(error).to_string();
    assert!(!told.contains("serviceaccount"), "{told}");
}

#[tokio::test]
async fn a_yes_and_no_at_once_is_a_denial() {
    let cluster = cluster(|_| true);
    cluster.set_authorizer(|_| Decided {
        allowed: true,
        denied: true,
        ..Decided::default()
    });
    let error = unavailable(may_get(&reviewer(&cluster), "cart").await);
    assert_eq!(error, AccessReviewError::Contradictory);
}

#[tokio::test]
async fn an_evaluation_error_leaves_a_yes_a_yes_and_a_no_a_no() {
    let cluster = cluster(|_| true);
    cluster.set_authorizer(|review| Decided {
        allowed: review.name == "cart",
        evaluation_error: "role \"gone\" not found".to_owned(),
        ..Decided::default()
    });
    let reviewer = reviewer(&cluster);
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    assert!(is_no(&may_get(&reviewer, "search").await));
}

#[tokio::test]
async fn an_authorizers_own_denial_is_a_no() {
    let cluster = cluster(|_| true);
    cluster.set_authorizer(|_| Decided {
        denied: true,
        reason: "never on Fridays".to_owned(),
        ..Decided::default()
    });
    let no = may_get(&reviewer(&cluster), "cart").await;
    assert!(is_no(&no));
    // What an authorizer says may be about others.
    assert!(!no.unwrap_err().to_string().contains("Fridays"));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_asks_for_rest_gets_it_while_known_answers_hold() {
    let cluster = cluster(|_| true);
    let reviewer = reviewer(&cluster);
    assert_eq!(may_get(&reviewer, "known").await, Ok(()));
    let busy = Rule::new(On::Review, Fault::retry_after(429, 5)).times(1);
    cluster.faults().add(busy);
    let wait = |answer| Denied::from(unavailable(answer)).retry_after();
    assert_eq!(
        wait(may_get(&reviewer, "cart").await),
        Some(Duration::from_secs(5))
    );
    advance(Duration::from_secs(4)).await;
    assert_eq!(
        wait(may_get(&reviewer, "search").await),
        Some(Duration::from_secs(1))
    );
    assert_eq!(may_get(&reviewer, "known").await, Ok(()));
    assert_eq!(cluster.counts().reviews, 2);
    advance(Duration::from_secs(1)).await;
    assert_eq!(may_get(&reviewer, "search").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn no_rest_is_longer_than_ten_seconds() {
    let cluster = cluster(|_| true);
    let reviewer = reviewer(&cluster);
    let busy = Rule::new(On::Review, Fault::retry_after(503, 86_400)).times(1);
    cluster.faults().add(busy);
    unavailable(may_get(&reviewer, "cart").await);
    advance(Duration::from_millis(9_990)).await;
    unavailable(may_get(&reviewer, "cart").await);
    advance(Duration::from_millis(10)).await;
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_once_more() {
    let cluster = cluster(|_| true);
    let reviewer = reviewer(&cluster);
    let broken = Rule::new(On::Review, Fault::Refuse);
    cluster.faults().add(broken.clone().times(1));
    assert_eq!(may_get(&reviewer, "cart").await, Ok(()));
    assert_eq!(cluster.counts().reviews, 2);
    cluster.faults().add(broken);
    unavailable(may_get(&reviewer, "search").await);
    assert_eq!(cluster.counts().reviews, 4);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_does_not_end_the_question_of_another() {
    let cluster = cluster(|_| true);
    let slow = Rule::new(On::Review, Fault::Delay(Duration::from_secs(2)));
    cluster.faults().add(slow);
    let reviewer = reviewer(&cluster);
    let leaving = timeout(Duration::from_secs(1), may_get(&reviewer, "cart"));
    let (left, stayed) = tokio::join!(leaving, may_get(&reviewer, "cart"));
    assert!(left.is_err());
    assert_eq!(stayed, Ok(()));
    assert_eq!(cluster.counts().reviews, 1);
}

#[tokio::test]
async fn who_may_list_everywhere_is_asked_about_once() {
    let cluster = cluster(|review| review.namespace.is_empty());
    let reviewer = reviewer(&cluster);
    let sees = reviewer.sees(&alice(), Verb::List, ["shop", "web"]).await;
    assert_eq!(sees, Ok(Visible::All));
    assert!(sees.unwrap().contains("later"));
    assert_eq!(cluster.counts().reviews, 1);
}

#[tokio::test]
async fn who_may_list_some_namespaces_sees_those() {
    let cluster = cluster(|r| r.verb == "list" && r.namespace.starts_with("team-"));
    let reviewer = reviewer(&cluster);
    let namespaces = ["shop", "team-a", "team-b", "web"];
    // On another task, as a request is.
    let on_task = {
        let reviewer = reviewer.clone();
        tokio::spawn(async move { reviewer.sees(&alice(), Verb::List, namespaces).await })
    };
    let sees = on_task.await.unwrap().unwrap();
    assert_eq!(
        namespaces.map(|namespace| sees.contains(namespace)),
        [false, true, true, false]
    );
    assert_eq!(
        reviewer.sees(&alice(), Verb::Watch, namespaces).await,
        Ok(Visible::Namespaces(BTreeSet::new()))
    );
    assert_eq!(cluster.counts().reviews, 10);
    let again = reviewer.sees(&alice(), Verb::List, namespaces).await;
    assert_eq!(again, Ok(sees));
    assert_eq!(cluster.counts().reviews, 10);
}

#[tokio::test]
async fn a_list_is_never_silently_short() {
    let cluster = cluster(|review| !review.namespace.is_empty());
    // Everything but the last question is answered.
    let fails = Rule::new(On::Review, Fault::status(500)).after(4);
    cluster.faults().add(fails);
    let sees = reviewer(&cluster)
        .sees(&alice(), Verb::List, ["a", "b", "c", "d"])
        .await;
    assert!(matches!(sees, Err(Denied::Unavailable(_))), "{sees:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_asks_eight_questions_at_once_and_ends_within_five_seconds() {
    let cluster = cluster(|review| !review.namespace.is_empty());
    let slow = Rule::new(On::Review, Fault::Delay(Duration::from_millis(900)));
    cluster.faults().add(slow);
    let reviewer = reviewer(&cluster);
    let start = Instant::now();
    let namespaces = |count: u32| (0..count).map(|n| format!("n{n}"));
    let sees = reviewer.sees(&alice(), Verb::List, namespaces(16)).await;
    assert!(matches!(sees, Ok(Visible::Namespaces(all)) if all.len() == 16));
    assert_eq!(start.elapsed().as_millis() / 100, 27, "1 + 2 rounds");
    let start = Instant::now();
    let sees = reviewer.sees(&alice(), Verb::Watch, namespaces(64)).await;
    assert!(matches!(sees, Err(Denied::Unavailable(_))), "{sees:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn what_was_asked_and_remembered_is_counted() {
    let cluster = cluster(|review| review.name == "cart");
    let metrics = crate::telemetry::metrics::Metrics::default();
    let names = KubernetesNames::default();
    let reviewer = Reviewer::new(reviews(&cluster), names, Arc::clone(&metrics.reviews));
    for name in ["cart", "cart", "search", "cart"] {
        let _ = may_get(&reviewer, name).await;
    }
    let fails = Rule::new(On::Review, Fault::status(500));
    cluster.faults().add(fails);
    unavailable(may_get(&reviewer, "checkout").await);
    let text = metrics.render(&crate::telemetry::metrics::Moment::default());
    for line in [
        "headcount_access_reviews_total{result=\"allowed\"} 1",
        "headcount_access_reviews_total{result=\"denied\"} 1",
        "headcount_access_reviews_total{result=\"failed\"} 1",
        "headcount_access_reviews_remembered_total 2",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}
