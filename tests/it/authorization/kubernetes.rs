//! The cluster's own roles decide: on a real API server with RBAC, with the rights that headcount has there.

use std::{path::Path, sync::Arc, time::Duration};

use controlplane::{ControlPlane, Options};
use headcount::{
    access::{Denied, KubernetesNames, NameKind, Principal, Reviewer, Verb, Visible},
    kubernetes::{self, AccessReviewError, AccessReviews},
};
use http::Request;
use serde_json::{Value, json};
use simkube::Cluster;

use crate::support::{World, eventually};

const ROLES: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: cart, namespace: shop}
rules:
- {apiGroups: [apps], resources: [deployments], resourceNames: [cart], verbs: [get]}
- {apiGroups: [apps], resources: [deployments/scale], resourceNames: [cart], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: cart, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: cart}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "headcount:alice"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: shop}
rules:
- {apiGroups: [apps], resources: [deployments], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "headcount:oncall"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: web}
rules:
- {apiGroups: [apps], resources: [deployments], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer, namespace: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "headcount:spiffe://example.org/ci"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: lister}
rules:
- {apiGroups: [apps], resources: [deployments], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lister}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lister}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "headcount:carol"}]
---
# The cluster's own bob, who isn't the bob of a certificate.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bob}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
"#;

fn principal(name: &str, groups: &[&str]) -> Principal {
    Principal {
        name: name.to_owned(),
        kind: NameKind::CommonName,
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
    }
}

fn callers() -> [Principal; 6] {
    [
        principal("alice", &[]),
        principal("bob", &[]),
        principal("carol", &[]),
        principal("dave", &["oncall"]),
        principal("mallory", &["system:masters"]),
        principal("spiffe://example.org/ci", &[]),
    ]
}

/// What somebody may, a line each: caller, verb, namespace and name, with stars for all.
const ALLOWED: [&str; 11] = [
    "alice get shop/cart",
    "alice scale shop/cart",
    "carol list */*",
    "carol list shop/*",
    "carol list web/*",
    "dave list shop/*",
    "dave watch shop/*",
    "spiffe://example.org/ci image web/cart",
    "spiffe://example.org/ci pause web/cart",
    "spiffe://example.org/ci restart web/cart",
    "spiffe://example.org/ci rollback web/cart",
];

/// All that the callers may do, of all that there is to be asked.
async fn allowed(reviewer: &Reviewer) -> Vec<String> {
    let mut allowed = Vec::new();
    for caller in &callers() {
        for verb in Verb::ALL {
            let objects = match verb {
                Verb::List | Verb::Watch => {
                    [(None, None), (Some("shop"), None), (Some("web"), None)]
                }
                _ => [("shop", "cart"), ("shop", "search"), ("web", "cart")]
                    .map(|(namespace, name)| (Some(namespace), Some(name))),
            };
            for (namespace, name) in objects {
                match reviewer.may(caller, verb, namespace, name).await {
                    Ok(()) => allowed.push(format!(
                        "{} {verb} {}/{}",
                        caller.name,
                        namespace.unwrap_or("*"),
                        name.unwrap_or("*")
                    )),
                    Err(Denied::No { .. }) => {}
                    Err(unavailable) => panic!("{unavailable}"),
                }
            }
        }
    }
    allowed.sort();
    allowed
}

/// A reviewer with the rights of a kubeconfig.
async fn reviewer(kubeconfig: &Path) -> Reviewer {
    let connection = kubernetes::connection(Some(kubeconfig), None)
        .await
        .unwrap();
    let client = kubernetes::client(&connection).unwrap();
    let reviews = AccessReviews::new(client, &Arc::default());
    Reviewer::new(reviews, KubernetesNames::default(), Arc::default())
}

#[tokio::test]
async fn an_api_server_that_is_away_denies_and_one_that_is_back_decides_again() {
    let world = World::simulated().await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    let (reviewer, alice) = (reviewer(&kubeconfig).await, principal("alice", &[]));
    let may = async |name| {
        reviewer
            .may(&alice, Verb::Get, Some("shop"), Some(name))
            .await
    };
    assert_eq!(may("cart").await, Ok(()));

    proxy.close(true);
    proxy.cut();
    // Answers that are known hold; all else is denied.
    assert_eq!(may("cart").await, Ok(()));
    let away = may("search").await;
    assert!(matches!(away, Err(Denied::Unavailable(_))), "{away:?}");

    proxy.close(false);
    assert_eq!(may("search").await, Ok(()));
}

#[tokio::test]
async fn connections_that_are_cut_between_two_questions_deny_nothing() {
    let world = World::simulated().await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    let (reviewer, alice) = (reviewer(&kubeconfig).await, principal("alice", &[]));
    // The connection that one question leaves behind is dead by the next.
    for name in ["cart", "search", "checkout"] {
        let may = reviewer.may(&alice, Verb::Get, Some("shop"), Some(name));
        assert_eq!(may.await, Ok(()), "{name}");
        proxy.cut();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clusters_roles_decide_and_what_they_do_not_say_is_denied() {
    let cluster = ControlPlane::start(Options::default())
        .await
        .unwrap_or_else(|e| panic!("{}", e.chain()));
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/base");
    let kubectl = async |arguments: &[&str]| cluster.kubectl(arguments).await.unwrap();
    kubectl(&["apply", "--kustomize", base.to_str().unwrap()]).await;
    let account = cluster
        .serviceaccount_kubeconfig("headcount", "headcount")
        .await
        .unwrap();

    // Without the right to ask nobody may do anything.
    let alice = principal("alice", &[]);
    let may = reviewer(&account)
        .await
        .may(&alice, Verb::Get, Some("shop"), Some("cart"))
        .await;
    let credentials = matches!(
        may,
        Err(Denied::Unavailable(AccessReviewError::Credentials { .. }))
    );
    assert!(credentials, "{may:?}");

    let reviews = "--resource=subjectaccessreviews.authorization.k8s.io";
    kubectl(&["create", "clusterrole", "ask", "--verb=create", reviews]).await;
    let account_name = "--serviceaccount=headcount:headcount";
    kubectl(&[
        "create",
        "clusterrolebinding",
        "ask",
        "--clusterrole=ask",
        account_name,
    ])
    .await;
    cluster.apply(ROLES).await.unwrap();
    // The authorizer learns of each binding a moment after it was made.
    let learnt = async || {
        let [alice, _, carol, dave, _, ci] = callers();
        // A new one, which remembers no earlier denial.
        let reviewer = reviewer(&account).await;
        let may = async |who: &Principal, verb, namespace, name| {
            reviewer.may(who, verb, namespace, name).await.is_ok()
        };
        may(&alice, Verb::Get, Some("shop"), Some("cart")).await
            && may(&carol, Verb::List, None, None).await
            && may(&dave, Verb::List, Some("shop"), None).await
            && may(&ci, Verb::Image, Some("web"), Some("cart")).await
    };
    eventually(Duration::from_secs(30), "the bindings", learnt).await;

    let reviewer = reviewer(&account).await;
    assert_eq!(allowed(&reviewer).await, ALLOWED);

    let [alice, _, carol, dave, ..] = callers();
    let sees = async |who| reviewer.sees(who, Verb::List, ["shop", "web"]).await;
    let some =
        |names: &[&str]| Visible::Namespaces(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(sees(&carol).await, Ok(Visible::All));
    assert_eq!(sees(&dave).await, Ok(some(&["shop"])));
    assert_eq!(sees(&alice).await, Ok(some(&[])));

    simkube_answers_reviews_as_the_real_one(&cluster.client()).await;
}

/// A review's answer: the status, or how it was refused.
async fn answer(client: &kube::Client, spec: &Value) -> Value {
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec });
    let request = Request::post("/apis/authorization.k8s.io/v1/subjectaccessreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())
        .unwrap();
    match client.request::<Value>(request).await {
        Ok(mut review) => {
            // Which roles bind whom is each cluster's own.
            review["status"]["reason"] = Value::Null;
            json!([
                review["kind"],
                review["apiVersion"],
                review["spec"],
                review["status"]
            ])
        }
        Err(kube::Error::Api(status)) => {
            json!([status.code, status.reason, status.message])
        }
        Err(error) => panic!("{error}"),
    }
}

async fn simkube_answers_reviews_as_the_real_one(real: &kube::Client) {
    let simulated = Cluster::new(simkube::Options::default());
    simulated.set_authorizer(|asked| simkube::Verdict::allowed(asked.user == "bob"));
    let simulated = kube::Client::new(simulated.service(), "default");
    let attributes = json!({ "group": "apps", "resource": "deployments", "verb": "get", "namespace": "shop", "name": "cart" });
    for spec in [
        json!({ "user": "bob", "resourceAttributes": attributes }),
        json!({ "user": "nobody", "groups": ["b", "a"], "resourceAttributes": attributes }),
        json!({ "resourceAttributes": attributes }),
        json!({ "user": "bob" }),
        json!({ "user": "bob", "resourceAttributes": attributes, "nonResourceAttributes": { "path": "/version" } }),
    ] {
        assert_eq!(
            answer(&simulated, &spec).await,
            answer(real, &spec).await,
            "{spec}"
        );
    }
}
