//! On a real control plane, which has what simkube has not: managed fields, revisions, Pods that start.

use serde_json::{Value, json};

use super::{ALL, Site, failed};
use crate::support::{World, program::Serving};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_scales_sees_who_did_it_and_takes_a_bad_image_back() {
    let world = World::real().await;
    world.create("web", "shop", Some(2), json!({})).await;
    let serving = Serving::healthy(world.kubeconfig(), &ALL).await;
    let site = Site::of(world, serving).await;
    failed(&site.run(&["rollback", "shop"]).await, 4, &["revision"]);

    let ended = site.run(&["set", "shop", "4", "--wait=60s"]).await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(0), &["web/shop scaled from 2 to 4".to_owned()][..]),
        "{ended:#?}"
    );
    let shown = site.says(&["get", "shop"]).await;
    assert!(
        shown[1].ends_with("4        4      complete  -            alice"),
        "{shown:#?}"
    );

    let detail = async || -> Value {
        serde_json::from_str(&site.says(&["get", "shop", "-o", "json"]).await.concat()).unwrap()
    };
    let before = detail().await["containers"][0].clone();
    let container = before["name"].as_str().unwrap();
    let ended = site
        .run(&[
            "image",
            "shop",
            &format!("{container}=app:bad"),
            "--wait=60s",
        ])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(detail().await["containers"][0]["image"], "app:bad");
    let ended = site.run(&["rollback", "shop", "--wait=60s"]).await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (
            Some(0),
            &["web/shop rolled back to what revision 1 was".to_owned()][..]
        ),
        "{ended:#?}"
    );
    assert_eq!(detail().await["containers"][0], before);
    let ended = site.run(&["rollback", "shop", "--to=99"]).await;
    failed(&ended, 4, &["no such revision"]);
    assert!(!ended.stderr[0].contains("did you mean"), "{ended:#?}");

    let ended = site.run(&["step", "shop", "-1", "--wait=60s"]).await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(0), &["web/shop scaled from 4 to 3".to_owned()][..]),
        "{ended:#?}"
    );
}
