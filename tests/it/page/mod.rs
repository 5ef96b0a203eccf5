//! The page: what is served, and what people see and do in real Chromium with a client certificate.

mod browser;
mod faults;
mod many;
mod pictures;

use std::time::Duration;

use headcount::{
    access::{Authorization, Verb, Verbs, WriteRules},
    config::LeaseSettings,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use simkube::NewDeployment;

use crate::support::{Client, Setup, SimCluster, TestServer, eventually};
use browser::{play, seen, world};

/// A cluster in which something can be seen, and a server of it.
async fn served() -> (SimCluster, TestServer) {
    served_with(LeaseSettings::default()).await
}

async fn served_with(leases: LeaseSettings) -> (SimCluster, TestServer) {
    let sim = SimCluster::start().await;
    for (namespace, name, count) in [
        ("web", "shop", 3),
        ("web", "cart", 2),
        ("batch", "reports", 0),
        ("batch", "worker", 5),
    ] {
        let new = NewDeployment::new(namespace, name).label("app", name);
        let made = sim.cluster.create(new.replicas(count));
        assert!(made.is_some());
    }
    let setup = Setup {
        kubernetes_events: true,
        leases,
        ..Setup::new(sim.kubeconfig())
    };
    let server = setup.healthy().await;
    (sim, server)
}

/// Another caller than the browser's.
fn another(server: &TestServer) -> Client {
    let pair = &server.files.client2;
    Client::with_files(
        server.address,
        &server.files.ca,
        &pair.certificate,
        &pair.key,
    )
}

/// The count of a step's details: namespace, name, count.
fn count(details: &[Value]) -> (&str, &str, i32) {
    let text = |at: usize| details[at].as_str().unwrap();
    let count = i32::try_from(details[2].as_i64().unwrap()).unwrap();
    (text(0), text(1), count)
}

async fn lease(server: &TestServer, method: Method, of: (&str, &str), body: &str) -> Value {
    let path = format!("/namespaces/{}/deployments/{}/lease", of.0, of.1);
    let json = [("content-type", "application/json")];
    let answer = another(server).send(method, &path, &json, body).await;
    json!(answer.status.as_u16())
}

/// What any case may ask for.
async fn usual(sim: &SimCluster, server: &TestServer, step: &str, details: &[Value]) -> Value {
    match step {
        "kubectl scales" => {
            let (namespace, name, count) = count(details);
            json!(sim.cluster.scale(namespace, name, count).is_some())
        }
        "another caller scales" => {
            let (namespace, name, count) = count(details);
            let answer = another(server)
                .scale(namespace, name, count.into(), &[])
                .await;
            json!(answer.status.as_u16())
        }
        "another caller leases" => {
            let (namespace, name, count) = count(details);
            let body = json!({"replicaCount": count, "durationSeconds": 3600}).to_string();
            lease(server, Method::PUT, (namespace, name), &body).await
        }
        "another caller ends the lease" => {
            let [namespace, name, query] = [0, 1, 2].map(|at| details[at].as_str().unwrap());
            let name = format!("{name}/lease{query}");
            let path = format!("/namespaces/{namespace}/deployments/{name}");
            let answer = another(server).send(Method::DELETE, &path, &[], "").await;
            json!(answer.status.as_u16())
        }
        "create" => {
            let (namespace, name, count) = count(details);
            sim.create(namespace, name, count);
            Value::Null
        }
        "delete" => {
            let [namespace, name] = [0, 1].map(|at| details[at].as_str().unwrap());
            json!(sim.cluster.delete(namespace, name).is_some())
        }
        "ready" => {
            let (namespace, name, count) = count(details);
            json!(sim.cluster.set_ready(namespace, name, count).is_some())
        }
        "rollouts take" => {
            let time = details[0].as_u64().map(Duration::from_millis);
            sim.cluster.set_rollout(time);
            json!(true)
        }
        "an autoscaler" => {
            let [namespace, name] = [0, 1].map(|at| details[at].as_str().unwrap());
            let target = json!({
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": 2,
                "maxReplicas": 6,
            });
            sim.cluster
                .set_autoscaler(namespace, name, target, json!([]));
            Value::Null
        }
        "an Event says" => {
            let words = details[0].as_str().unwrap();
            let events = sim.cluster.events();
            json!(events.iter().any(|one| one.to_string().contains(words)))
        }
        "count" => json!(sim.count(details[0].as_str().unwrap(), details[1].as_str().unwrap())),
        _ => panic!("no test does {step:?}"),
    }
}

async fn plays(case: &str) {
    let (sim, server) = served().await;
    let world = world(server.address, &server.files);
    play(case, &world, async |step, details| {
        usual(&sim, &server, step, details).await
    })
    .await;
}

#[tokio::test]
async fn the_page_and_its_files_are_served_to_everybody_with_a_certificate_and_not_again_to_whom_has_them()
 {
    let sim = SimCluster::start().await;
    let setup = Setup {
        authorization: Authorization::Any(Verbs::default()),
        ..Setup::new(sim.kubeconfig())
    };
    let server = setup.healthy().await;
    let send = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request = server.client.request(method, "", headers, "");
        *request.uri_mut() = path.parse().unwrap();
        server.client.try_send(request).await.unwrap()
    };
    let get = async |path: &str, headers: &[(&str, &str)]| send(Method::GET, path, headers).await;
    let page = get("/", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    assert!(text.contains(env!("CARGO_PKG_VERSION")));
    let mut paths = vec!["/".to_owned()];
    let linked = text.split('"').filter(|part| part.starts_with("/page/"));
    paths.extend(linked.map(str::to_owned));
    assert!(paths.len() > 4, "{paths:?}");
    for path in paths {
        let found = get(&path, &[]).await;
        assert_eq!(found.status, StatusCode::OK, "{path}");
        let policy = found.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(found.header("x-content-type-options"), "nosniff");
        assert_eq!(found.header("referrer-policy"), "no-referrer");
        assert_eq!(found.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(found.header("cache-control"), "no-cache");
        let tag = found.header("etag");
        let again = get(&path, &[("if-none-match", tag)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
        let zipped = get(&path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(zipped.header("content-encoding"), "gzip", "{path}");
        let other = send(Method::PUT, &path, &[]).await;
        assert_eq!(other.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    for path in ["/page/", "/page/none.js", "/page/../page/app.js", "/page"] {
        assert_eq!(get(path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn the_table_shows_finds_sorts_and_follows() {
    seen(|| plays("table.mjs"));
}

#[test]
fn a_filter_of_what_a_list_does_not_tell_says_of_how_many_rows_it_is_true_and_looks_at_the_others()
{
    seen(|| plays("filters.mjs"));
}

#[test]
fn a_count_is_checked_confirmed_and_set_and_its_rollout_is_seen_to_move() {
    seen(|| plays("change.mjs"));
}

#[test]
fn whoever_was_faster_is_named_and_nothing_is_overwritten() {
    seen(|| plays("conflict.mjs"));
}

#[test]
fn everything_can_be_done_without_a_mouse() {
    seen(|| plays("keyboard.mjs"));
}

#[test]
fn no_view_is_inaccessible_in_dark_in_light_or_on_a_phone() {
    seen(|| plays("accessible.mjs"));
}

#[test]
fn who_may_only_list_and_look_sees_changes_and_is_offered_nothing_that_would_be_refused() {
    seen(async || {
        let sim = SimCluster::start().await;
        sim.create("web", "shop", 3);
        let looking = [Verb::List, Verb::Get].into_iter().collect();
        let setup = Setup {
            authorization: Authorization::Any(looking),
            ..Setup::new(sim.kubeconfig())
        };
        let server = setup.healthy().await;
        let world = world(server.address, &server.files);
        play("looking.mjs", &world, async |step, details| {
            usual(&sim, &server, step, details).await
        })
        .await;
    });
}

#[test]
fn many_are_set_in_one_go_and_undone_but_for_what_others_changed() {
    seen(|| plays("batch.mjs"));
}

#[test]
fn times_have_zones_and_are_written_as_in_a_terminal() {
    seen(|| plays("times.mjs"));
}

#[test]
fn views_have_addresses_with_back_and_forward() {
    seen(|| plays("addresses.mjs"));
}

#[test]
fn ready_counts_move_and_the_history_names_who_changed_what() {
    seen(|| plays("history.mjs"));
}

/// The same where counts can be leased.
async fn plays_with_leases(case: &str) {
    let leases = LeaseSettings {
        namespace: Some("headcount".into()),
        ..LeaseSettings::default()
    };
    let (sim, server) = served_with(leases).await;
    sim.cluster.create_namespace("headcount");
    // Nobody leases before it is known which leases there are.
    eventually(Duration::from_secs(60), "leases", async || {
        server.client.get("/leases").await.status == 200
    })
    .await;
    let world = world(server.address, &server.files);
    play(case, &world, async |step, details| {
        usual(&sim, &server, step, details).await
    })
    .await;
}

#[test]
fn a_count_is_leased_extended_and_given_back() {
    seen(|| plays_with_leases("leases.mjs"));
}

#[test]
fn an_open_dialog_says_what_others_change_meanwhile_and_leaves_the_focus_alone() {
    seen(|| plays_with_leases("present.mjs"));
}

#[test]
fn a_batch_says_what_becomes_of_leases_of_what_was_refused_and_of_what_changed_since_its_check() {
    seen(|| plays_with_leases("batch_leases.mjs"));
}

#[test]
fn no_key_leaves_the_focus_nowhere_in_any_view() {
    seen(|| plays_with_leases("focus.mjs"));
}

#[test]
fn over_a_bad_network_nothing_is_sent_twice_and_no_write_is_lost_silently() {
    seen(|| plays_with_leases("network.mjs"));
}

#[test]
fn a_read_only_server_is_told_of_before_anybody_tries_to_set_a_count() {
    seen(async || {
        let sim = SimCluster::start().await;
        sim.create("web", "shop", 3);
        let setup = Setup {
            writes: WriteRules {
                read_only: true,
                ..WriteRules::default()
            },
            ..Setup::new(sim.kubeconfig())
        };
        let server = setup.healthy().await;
        let world = world(server.address, &server.files);
        play("read_only.mjs", &world, async |step, details| {
            usual(&sim, &server, step, details).await
        })
        .await;
    });
}
