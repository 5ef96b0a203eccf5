//! SubjectAccessReviews: who decides them, what they say, what is wrong with one.

use serde_json::{Value, json};
use simkube::{Cluster, Fault, On, Options, OwnRule, Rule, Verdict};

use crate::support::{Answer, get, request, send};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

fn review(spec: &Value) -> Value {
    json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec })
}

fn cart() -> Value {
    json!({
        "user": "alice", "groups": ["b", "a"],
        "resourceAttributes": {
            "group": "apps", "version": "v1", "resource": "deployments", "subresource": "scale",
            "verb": "update", "namespace": "shop", "name": "cart",
        },
    })
}

async fn post(cluster: &Cluster, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    send(
        cluster,
        request("POST", REVIEWS, &headers, body.to_string()),
    )
    .await
}

#[tokio::test]
async fn everything_is_allowed_until_somebody_decides() {
    let cluster = Cluster::new(Options::default());
    let answer = post(&cluster, &review(&cart())).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["kind"], "SubjectAccessReview");
    assert_eq!(answer.json()["spec"], cart());
    assert_eq!(answer.json()["status"], json!({ "allowed": true }));
}

#[tokio::test]
async fn who_decides_sees_the_question_and_the_answer_has_its_words() {
    let cluster = Cluster::new(Options::default());
    cluster.set_authorizer(|asked| Verdict {
        denied: asked.user == "alice" && asked.resource == "deployments/scale",
        reason: "no".to_owned(),
        evaluation_error: "half of it failed".to_owned(),
        ..Verdict::default()
    });
    let answer = post(&cluster, &review(&cart())).await;
    assert_eq!(
        answer.json()["status"],
        json!({ "allowed": false, "denied": true, "reason": "no", "evaluationError": "half of it failed" })
    );
    let seen = &cluster.reviews()[0];
    assert_eq!(
        (&*seen.user, &*seen.verb, &*seen.group),
        ("alice", "update", "apps")
    );
    assert_eq!((&*seen.namespace, &*seen.name), ("shop", "cart"));
    assert_eq!(seen.groups, ["b", "a"]);
}

#[tokio::test]
async fn reviews_are_counted_and_have_faults_of_their_own() {
    let cluster = Cluster::new(Options::default());
    cluster
        .faults()
        .add(Rule::new(On::Write, Fault::status(500)));
    assert_eq!(post(&cluster, &review(&cart())).await.status, 201);
    cluster
        .faults()
        .add(Rule::new(On::Review, Fault::retry_after(429, 3)));
    let answer = post(&cluster, &review(&cart())).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (429, &"3".parse().unwrap())
    );
    let counts = cluster.counts();
    assert_eq!((counts.reviews, counts.writes), (2, 0));
    assert_eq!(cluster.reviews().len(), 1, "the other wasn't decided");
}

#[tokio::test]
async fn a_review_that_asks_nothing_is_refused() {
    let cluster = Cluster::new(Options::default());
    let (mut nobody, mut nothing, mut both) = (cart(), cart(), cart());
    nobody["user"] = "".into();
    nobody["groups"] = json!([]);
    nothing["resourceAttributes"] = Value::Null;
    both["nonResourceAttributes"] = json!({ "path": "/version" });
    for (spec, field) in [
        (nobody, "spec.user"),
        (nothing, "spec.resourceAttributes"),
        (both, "spec.nonResourceAttributes"),
    ] {
        let answer = post(&cluster, &review(&spec)).await;
        assert_eq!(answer.status, 422, "{field}");
        assert_eq!(answer.json()["details"]["causes"][0]["field"], field);
    }
    let mut other = review(&cart());
    other["kind"] = "Deployment".into();
    assert_eq!(post(&cluster, &other).await.status, 400);
    assert_eq!(
        post(&cluster, &review(&json!({ "user": 1 }))).await.status,
        400
    );
    assert_eq!(get(&cluster, REVIEWS).await.status, 405);
    assert!(cluster.reviews().is_empty());
}

#[tokio::test]
async fn callers_are_told_of_the_rights_that_were_set_for_them() {
    let cluster = Cluster::new(Options::default());
    let ask = async |kind: &str, spec: Value| {
        let path = format!(
            "/apis/authorization.k8s.io/v1/{}s",
            kind.to_ascii_lowercase()
        );
        let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec });
        let headers = [("content-type", "application/json")];
        let answer = send(&cluster, request("POST", &path, &headers, body.to_string())).await;
        assert_eq!(answer.status, 201, "{kind}");
        answer.json()["status"].clone()
    };
    let may = async |verb: &str, namespace: &str| {
        let attributes = json!({
            "group": "apps", "resource": "deployments", "subresource": "scale", "verb": verb, "namespace": namespace,
        });
        ask(
            "SelfSubjectAccessReview",
            json!({ "resourceAttributes": attributes }),
        )
        .await["allowed"]
            == true
    };
    assert!(
        may("update", "shop").await,
        "everything is allowed at first"
    );
    let rule = OwnRule::new("apps", "deployments/scale", &["update"]).within("shop");
    cluster.set_own_rules(vec![rule]);
    assert!(may("update", "shop").await);
    assert!(!may("update", "web").await && !may("update", "").await && !may("patch", "shop").await);
    let rules = async |namespace: &str| {
        let status = ask("SelfSubjectRulesReview", json!({ "namespace": namespace })).await;
        status["resourceRules"].clone()
    };
    let held =
        json!([{ "verbs": ["update"], "apiGroups": ["apps"], "resources": ["deployments/scale"] }]);
    assert_eq!(rules("shop").await, held);
    assert_eq!(rules("web").await, json!([]));
}
