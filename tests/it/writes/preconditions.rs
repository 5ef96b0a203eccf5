//! `If-Match` and `If-None-Match` on writes: race-free up to the cluster.

use std::time::Duration;

use simkube::{Fault, NewDeployment, On, Rule};

use super::{in_cluster, shop, writes};

#[tokio::test(start_paused = true)]
async fn a_write_guarded_by_the_present_tag_goes_through() {
    let server = shop().await;
    let tag = server
        .get("web", "shop", &[])
        .await
        .header("etag")
        .to_owned();
    let list = format!("\"other\", {tag} , W/\"weak\"");
    for (count, guard) in [(4, tag.as_str()), (3, "*")] {
        assert_eq!(
            server
                .put("web", "shop", count, &[("if-match", guard)])
                .await
                .status,
            200,
            "{guard}"
        );
    }
    assert_eq!(
        server
            .put("web", "shop", 5, &[("if-match", &list)])
            .await
            .status,
        200
    );
    assert_eq!(
        server
            .put("web", "shop", 6, &[("if-none-match", "\"other\"")])
            .await
            .status,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_guarded_by_another_tag_is_412_and_by_an_asterisk_beside_one_400_and_nothing_is_sent()
 {
    let server = shop().await;
    let tag = server
        .get("web", "shop", &[])
        .await
        .header("etag")
        .to_owned();
    let weak = format!("W/{tag}");
    let bare = tag.trim_matches('"').to_owned();
    let guards = [
        ("if-match", "\"other\""),
        // Weak tags never guard a write (RFC 9110, 13.1.1), and tags have quotes.
        ("if-match", &weak),
        ("if-match", &bare),
        ("if-match", ""),
        ("if-none-match", &tag),
        ("if-none-match", &weak),
        ("if-none-match", "*"),
    ];
    for guard in guards {
        let answer = server.put("web", "shop", 9, &[guard]).await;
        assert_eq!(answer.status, 412, "{guard:?}");
        assert!(answer.error().contains(&tag), "{}", answer.error());
    }
    let beside = format!("*, {tag}");
    for (header, name) in [("if-match", "If-Match"), ("if-none-match", "If-None-Match")] {
        for malformed in ["*, *", &*beside] {
            let answer = server.put("web", "shop", 9, &[(header, malformed)]).await;
            assert_eq!(answer.status, 400, "{header}: {malformed}");
            assert!(answer.error().starts_with(name), "{}", answer.error());
        }
    }
    // Both have to hold.
    assert_eq!(
        server
            .put(
                "web",
                "shop",
                9,
                &[("if-match", &tag), ("if-none-match", &tag)]
            )
            .await
            .status,
        412
    );
    assert!(writes(&server).is_empty());
    assert_eq!(in_cluster(&server, "shop"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_tag_survives_a_status_and_not_a_deletion() {
    let server = shop().await;
    let tag = server
        .get("web", "shop", &[])
        .await
        .header("etag")
        .to_owned();
    server.cluster.touch_status("web", "shop").unwrap();
    server.converges(Duration::from_secs(1)).await;
    assert_eq!(
        server
            .put("web", "shop", 3, &[("if-match", &tag)])
            .await
            .status,
        200
    );
    server.cluster.delete("web", "shop").unwrap();
    server
        .cluster
        .create(NewDeployment::new("web", "shop").replicas(3))
        .unwrap();
    server.converges(Duration::from_secs(1)).await;
    assert_eq!(
        server
            .put("web", "shop", 4, &[("if-match", &tag)])
            .await
            .status,
        412
    );
}

#[tokio::test(start_paused = true)]
async fn of_writers_with_the_same_tag_exactly_one_wins() {
    for (delay, events) in [(0, 0), (20, 0), (20, 50), (0, 300)] {
        let server = shop().await;
        if delay > 0 {
            server.cluster.faults().add(Rule::new(
                On::Scale,
                Fault::Delay(Duration::from_millis(delay)),
            ));
        }
        if events > 0 {
            server.cluster.faults().add(Rule::new(
                On::Event,
                Fault::Delay(Duration::from_millis(events)),
            ));
        }
        let tag = server
            .get("web", "shop", &[])
            .await
            .header("etag")
            .to_owned();
        let racing = (0..20)
            .map(|n| tokio::spawn(server.putting("web", "shop", 100 + n, &[("if-match", &tag)])));
        let mut statuses = Vec::new();
        for (n, writer) in racing.collect::<Vec<_>>().into_iter().enumerate() {
            let answer = writer.await.unwrap();
            if answer.status == 200 {
                assert_eq!(in_cluster(&server, "shop"), Some(100 + n as i32));
            }
            statuses.push(answer.status.as_u16());
        }
        let (won, lost) = (
            statuses.iter().filter(|s| **s == 200).count(),
            statuses.iter().filter(|s| **s == 412).count(),
        );
        assert_eq!((won, lost), (1, 19), "{statuses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_between_judgement_and_write_is_judged_again() {
    let server = shop().await;
    let tag = server
        .get("web", "shop", &[])
        .await
        .header("etag")
        .to_owned();
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(Duration::from_millis(50))).times(1));
    let writer = tokio::spawn(server.putting("web", "shop", 9, &[("if-match", &tag)]));
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.cluster.scale("web", "shop", 4).unwrap();
    let answer = writer.await.unwrap();
    assert_eq!(answer.status, 412);
    assert!(answer.error().contains("4 replicas"), "{}", answer.error());
    assert_eq!(in_cluster(&server, "shop"), Some(4));
}
