//! Mode `policy`, as callers see it.

use headcount::pki::Leaf;
use http::{Method, StatusCode};
use simkube::NewDeployment;

use super::{Governed, seen};
use crate::support::{Answer, Client, SimCluster};

const POLICY: &str = r#"
maxReplicas: 50
authorization:
  mode: policy
  rules:
    - name: hands off the payments
      effect: deny
      subjects: ["*"]
      verbs: [scale, image]
      deployments: ["pay-*"]
    - name: ci
      subjects: ["spiffe://example.org/ci/*"]
      verbs: ["*"]
      namespaces: [web]
      bounds: {min: 1, max: 10, maxStep: 4}
      images: {registries: [registry.example.com/shop], digest: allowed}
    - name: on call
      subjects: ["group:oncall"]
      verbs: [get, list, scale]
    - name: front end
      subjects: [fiona]
      verbs: [get, list, scale]
      labelSelector: tier=front
    - name: readers
      subjects: [rita]
      verbs: [get]
      namespaces: ["web*"]
"#;

async fn governed() -> Governed {
    let sim = SimCluster::start().await;
    for (namespace, name, replicas) in [
        ("web", "shop", 3),
        ("web", "pay-api", 2),
        ("web-2", "shop", 1),
        ("ops", "cron", 1),
    ] {
        sim.create(namespace, name, replicas);
    }
    let front = NewDeployment::new("web", "page")
        .replicas(2)
        .label("tier", "front");
    sim.cluster.create(front).unwrap();
    let bounded = NewDeployment::new("ops", "bounded")
        .replicas(3)
        .annotation("headcount/min-replicas", "2")
        .annotation("headcount/max-replicas", "6");
    sim.cluster.create(bounded).unwrap();
    let protected =
        NewDeployment::new("ops", "protected").annotation("headcount/protected", "true");
    sim.cluster.create(protected).unwrap();
    let unclear = NewDeployment::new("ops", "unclear").annotation("headcount/max-replicas", "many");
    sim.cluster.create(unclear).unwrap();
    Governed::by(POLICY, sim).await
}

fn ci(governed: &Governed) -> Client {
    let mut leaf = Leaf::client("runner");
    leaf.uris = vec!["spiffe://example.org/ci/web".into()];
    governed.client_of(&leaf)
}

fn on_call(governed: &Governed) -> Client {
    let mut leaf = Leaf::client("olga");
    leaf.organizations = vec!["oncall".into()];
    governed.client_of(&leaf)
}

fn refused(answer: &Answer, status: u16, why: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    let told = answer.error();
    assert!(told.contains(why), "{told}");
}

#[tokio::test]
async fn a_list_shows_what_its_caller_may_see() {
    let governed = governed().await;
    assert_eq!(
        seen(&ci(&governed)).await,
        ["web/page", "web/pay-api", "web/shop"]
    );
    assert_eq!(seen(&governed.client("fiona")).await, ["web/page"]);
    assert_eq!(seen(&on_call(&governed)).await.len(), 8);
    let fiona = governed.client("fiona");
    let list = fiona.get("/deployments").await;
    assert_eq!(
        list.text(),
        r#"[{"namespace":"web","name":"page","replicaCount":2}]"#
    );
    let tag = list.header("etag").to_owned();
    // What she may not see changes nothing for her.
    governed.sim.cluster.scale("web", "shop", 9).unwrap();
    let on_call = on_call(&governed);
    crate::support::eventually(std::time::Duration::from_secs(5), "the event", async || {
        on_call.count("web", "shop").await == Ok(9)
    })
    .await;
    let again = fiona
        .send(Method::GET, "/deployments", &[("if-none-match", &tag)], "")
        .await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    let zipped = fiona
        .send(
            Method::GET,
            "/deployments",
            &[("accept-encoding", "gzip")],
            "",
        )
        .await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    refused(
        &governed.client("rita").get("/deployments").await,
        403,
        r#""list""#,
    );
}

#[tokio::test]
async fn a_part_of_the_list_shows_what_its_caller_may_see_of_it_on_every_page() {
    let governed = governed().await;
    let (ci, fiona) = (ci(&governed), governed.client("fiona"));
    let names = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let list = answer.json();
        let name = |d: &serde_json::Value| d["name"].as_str().unwrap().to_owned();
        list.as_array()
            .unwrap()
            .iter()
            .map(name)
            .collect::<Vec<_>>()
    };
    let web = "/namespaces/web/deployments";
    assert_eq!(names(&ci.get(web).await), ["page", "pay-api", "shop"]);
    assert_eq!(names(&fiona.get(web).await), ["page"]);
    // What she may not see isn't found by its label, nor by its absence.
    let others = "/deployments?labelSelector=tier!%3Dfront";
    assert!(names(&fiona.get(others).await).is_empty());
    assert_eq!(names(&ci.get(others).await), ["pay-api", "shop"]);
    // Nor is there a next page of it, and a page that was another's shows no more than one's own.
    let one = fiona.get("/deployments?limit=1").await;
    assert_eq!(
        (names(&one), one.headers.get("link")),
        (vec!["page".into()], None)
    );
    let first = ci.get("/deployments?limit=1").await;
    let link = first.header("link").to_owned();
    let next = &link[1..link.find('>').unwrap()].replace("/api/v1", "");
    assert_eq!(names(&ci.get(next).await), ["pay-api"]);
    assert!(names(&fiona.get(next).await).is_empty());
    for path in ["/namespaces/ops/deployments", "/namespaces/WEB/deployments"] {
        refused(&ci.get(path).await, 403, r#""list""#);
    }
    for path in [web, next] {
        refused(&governed.client("rita").get(path).await, 403, r#""list""#);
    }
}

#[tokio::test]
async fn missing_and_forbidden_look_the_same_to_somebody_who_may_not_know() {
    let governed = governed().await;
    let stranger = governed.client("stranger");
    let (there, missing) = (
        stranger
            .get("/namespaces/web/deployments/shop/replicas")
            .await,
        stranger
            .get("/namespaces/web/deployments/nope/replicas")
            .await,
    );
    refused(&there, 403, r#""stranger" lacks the permission "get""#);
    assert_eq!(missing.error(), there.error().replace("shop", "nope"));
    // Nor does a body that is no count, or a name that is none, tell more.
    let put = stranger
        .send(
            Method::PUT,
            "/namespaces/web/deployments/shop/replicas",
            &[],
            "x",
        )
        .await;
    refused(&put, 403, "scale");
    refused(
        &stranger
            .get("/namespaces/WEB/deployments/shop/replicas")
            .await,
        403,
        "get",
    );
    let fiona = governed.client("fiona");
    let (there, missing) = (
        fiona.get("/namespaces/web/deployments/shop/replicas").await,
        fiona.get("/namespaces/web/deployments/nope/replicas").await,
    );
    assert_eq!((there.status.as_u16(), missing.status.as_u16()), (403, 403));
    assert_eq!(
        governed.client("rita").count("web", "nope").await,
        Err(StatusCode::NOT_FOUND)
    );
    assert_eq!(governed.sim.writes(), 0);
}

#[tokio::test]
async fn the_first_rule_that_matches_decides_and_brings_its_bounds() {
    let governed = governed().await;
    let ci = ci(&governed);
    assert_eq!(ci.scale("web", "shop", 7, &[]).await.status, 200);
    refused(
        &ci.scale("web", "shop", 2, &[]).await,
        422,
        "allows no larger step",
    );
    refused(
        &ci.scale("web", "shop", 11, &[]).await,
        422,
        r#"11 is above the maximum of 10 set by the rule "ci""#,
    );
    refused(&ci.scale("web", "shop", 0, &[]).await, 422, "minimum of 1");
    refused(&ci.scale("web", "pay-api", 3, &[]).await, 403, r#""scale""#);
    refused(&ci.scale("web-2", "shop", 3, &[]).await, 403, r#""scale""#);
    assert_eq!(ci.count("web", "pay-api").await, Ok(2));
    let fiona = governed.client("fiona");
    assert_eq!(fiona.scale("web", "page", 3, &[]).await.status, 200);
    refused(&fiona.scale("web", "shop", 3, &[]).await, 403, r#""scale""#);
    assert_eq!(governed.sim.count("web", "shop"), Some(7));
}

#[tokio::test]
async fn annotations_narrow_what_a_rule_and_the_server_allow() {
    let governed = governed().await;
    let olga = on_call(&governed);
    assert_eq!(olga.scale("ops", "bounded", 6, &[]).await.status, 200);
    refused(
        &olga.scale("ops", "bounded", 7, &[]).await,
        422,
        "set by the Deployment's annotations",
    );
    refused(
        &olga.scale("ops", "bounded", 1, &[]).await,
        422,
        "minimum of 2",
    );
    refused(
        &olga.scale("ops", "protected", 2, &[]).await,
        422,
        "headcount/protected",
    );
    refused(
        &olga.scale("ops", "unclear", 1, &[]).await,
        422,
        "headcount/max-replicas isn't a whole number",
    );
    refused(
        &olga.scale("ops", "cron", 51, &[]).await,
        422,
        "this server (--max-replicas)",
    );
    assert_eq!(olga.count("ops", "unclear").await, Ok(1));
}

#[tokio::test]
async fn a_bound_is_judged_on_the_state_that_the_write_is_conditional_on() {
    let governed = governed().await;
    let olga = on_call(&governed);
    // The server's copy is behind: the API server's 409 makes it judge again, on what the annotation says now.
    let newer = [("headcount/max-replicas", "4")];
    governed
        .sim
        .cluster
        .set_annotations("ops", "bounded", &newer)
        .unwrap();
    refused(
        &olga.scale("ops", "bounded", 5, &[]).await,
        422,
        "maximum of 4",
    );
    assert_eq!(governed.sim.count("ops", "bounded"), Some(3));
}

#[tokio::test]
async fn images_come_from_where_the_rule_says() {
    let governed = governed().await;
    let ci = ci(&governed);
    let json = [("content-type", "application/json")];
    let path = "/namespaces/web/deployments/shop/containers/main/image";
    let set = async |image: &str| {
        let body = format!(r#"{{"image":"{image}"}}"#);
        ci.send(Method::PUT, path, &json, &body).await
    };
    let fine = set("registry.example.com/shop/web:2").await;
    assert_eq!(fine.status, 200, "{}", fine.text());
    refused(
        &set("registry.example.com/shopping:2").await,
        422,
        "registry.example.com/shop",
    );
    refused(&set("shop:2").await, 422, "docker.io/library/shop");
    refused(&set("Shop").await, 400, "reference");
    let olga = on_call(&governed);
    let body = r#"{"image":"registry.example.com/shop/web:2"}"#;
    refused(
        &olga.send(Method::PUT, path, &json, body).await,
        403,
        r#""image""#,
    );
}

#[tokio::test]
async fn a_certificate_that_names_nobody_or_several_may_do_nothing_and_is_told_why() {
    let governed = governed().await;
    let mut leaf = Leaf::client("rita");
    leaf.dns_names = vec!["a.example.org".into(), "b.example.org".into()];
    let nobody = governed.client_of(&leaf);
    let answer = nobody
        .get("/namespaces/web/deployments/shop/replicas")
        .await;
    refused(&answer, 403, "2 names of the kind dns");
    assert_eq!(nobody.get("/health").await.status, 200);
    assert_eq!(nobody.get("/whoami").await.status, 200);
}

#[tokio::test]
async fn a_held_rollout_and_a_precondition_come_before_the_images_of_a_revision() {
    let governed = governed().await;
    let ci = ci(&governed);
    let shop = "/namespaces/web/deployments/shop";
    let json = [("content-type", "application/json")];
    let image = r#"{"image":"registry.example.com/shop/app:2"}"#;
    let path = format!("{shop}/containers/main/image");
    let answer = ci.send(Method::PUT, &path, &json, image).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = format!("{shop}/rollback");
    let back = |headers: &'static [(&str, &str)]| ci.send(Method::POST, &path, headers, "");
    refused(&back(&[]).await, 422, "docker.io");
    assert_eq!(back(&[("if-match", "\"old\"")]).await.status, 412);
    let paused = format!("{shop}/paused");
    let held = ci.send(Method::PUT, &paused, &json, r#"{"paused":true}"#);
    assert_eq!(held.await.status, 200);
    assert_eq!(back(&[("if-match", "\"old\"")]).await.status, 409);
}
