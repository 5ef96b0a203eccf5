//! Mode `any`: every client of a known CA may get, list and scale; anything else must be enabled.

use http::Method;

use super::{Governed, seen};
use crate::support::SimCluster;

const IMAGE: &str = "/namespaces/web/deployments/shop/containers/main/image";

async fn set_image(governed: &Governed) -> crate::support::Answer {
    let json = [("content-type", "application/json")];
    let body = r#"{"image":"registry.example.com/shop:2"}"#;
    let alice = governed.client("alice");
    alice.send(Method::PUT, IMAGE, &json, body).await
}

#[tokio::test]
async fn without_a_word_of_authorization_counts_are_everybodys_and_images_nobodys() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let governed = Governed::by("", sim).await;
    let alice = governed.client("alice");
    assert_eq!(alice.count("web", "shop").await, Ok(3));
    assert_eq!(seen(&alice).await, ["web/shop"]);
    assert_eq!(alice.scale("web", "shop", 4, &[]).await.status, 200);
    let answer = set_image(&governed).await;
    assert_eq!(answer.status, 403);
    let told = answer.error();
    assert!(told.contains(r#"the permission "image""#), "{told}");
}

#[tokio::test]
async fn a_verb_that_is_enabled_is_everybodys() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let governed = Governed::by("authorization: {enable: [image]}\n", sim).await;
    let answer = set_image(&governed).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_as_good_as_any() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let governed = Governed::by("", sim).await;
    let mut leaf = headcount::pki::Leaf::client("alice");
    leaf.uris = vec![
        "spiffe://example.org/a".into(),
        "spiffe://example.org/b".into(),
    ];
    let client = governed.client_of(&leaf);
    assert_eq!(client.count("web", "shop").await, Ok(3));
}
