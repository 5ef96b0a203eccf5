//! Changes of a lease that isn't there: whether it is the lease or the Deployment, and who is told.

use headcount::{
    access::{Authorization, Rules, Verb},
    limits::Limits,
};

use super::*;

const GONE: &str = "/namespaces/web/deployments/gone/lease";

#[tokio::test(start_paused = true)]
async fn whoever_ends_or_extends_a_lease_of_no_deployment_is_told_so() {
    let cluster = cluster();
    let server = server(&cluster, &Clock::default()).await;
    let body = json!({"durationSeconds": 60}).to_string();
    for (method, body) in [(Method::DELETE, ""), (Method::PATCH, &*body)] {
        for path in [GONE, &format!("{GONE}?dryRun=true")] {
            let answer = server.send(method.clone(), path, &[JSON], body).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            let told = answer.error();
            assert!(told.starts_with("no Deployment \"gone\""), "{told}");
        }
        let answer = server.send(method, LEASE, &[JSON], body).await;
        assert_eq!(answer.status, 404);
        let told = answer.error();
        assert!(told.starts_with("the Deployment has no lease"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_set_counts_is_not_told_which_deployments_there_are() {
    let cluster = cluster();
    let server = server(&cluster, &Clock::default()).await;
    let reader = Rules {
        authorization: Authorization::Any([Verb::Get].into_iter().collect()),
        ..Rules::default()
    };
    let reader = server.session_of("reader", reader, &Limits::default());
    let mut told = Vec::new();
    for path in [LEASE, GONE] {
        let answer = server.sending_as(&reader, Method::DELETE, path, &[], "");
        let answer = answer.await;
        assert_eq!(answer.status, 403);
        told.push(answer.error().replace("gone", "shop"));
    }
    assert_eq!(told[0], told[1]);
}
