//! Names that want to be lines of their own.

use headcount::pki::{Authority, Leaf, Pair};

use super::{Volumes, ids, places};
use crate::support::{Client, SimCluster};

/// Ends the line, begins another in either form, clears the screen, closes the value, opens a field, turns the text around.
const EVIL: &str = "x\" event=\"forged\" y=\"\n2026-01-01T00:00:00Z ERROR forged.line forged record_id=\"z-1\"\r\n\
    {\"timestamp\":\"2026-01-01T00:00:00Z\",\"event\":\"forged\",\"record_id\":\"z-2\"}\u{1b}[2J\u{85}\u{202e}\\u{41}\\";

#[tokio::test]
async fn a_forged_name_stays_one_record_with_all_its_characters() {
    for format in ["text", "json"] {
        let cluster = SimCluster::start().await;
        cluster.create("web", "shop", 3);
        let volumes = Volumes::new(format);
        let serving = volumes.serve(&cluster).await;
        let stranger = Authority::new(EVIL).unwrap();
        let mallory = Pair::in_folder(&volumes.path("collector"), "mallory");
        mallory
            .write(&stranger.issue(&Leaf::client(EVIL)).unwrap())
            .unwrap();
        let client = Client::with_files(
            serving.address,
            &serving.files.ca,
            &mallory.certificate,
            &mallory.key,
        );
        let get = client.request(http::Method::GET, "/health", &[], "");
        assert!(client.try_send(get).await.is_err());
        let reason = r#"say "hi" \ {"event":"forged"} a=b record_id="z-3""#;
        let headers = [("x-reason", reason)];
        let answer = serving.client.scale("web", "shop", 4, &headers);
        assert_eq!(answer.await.status, 200);
        serving.terminated().await;

        let _collector = volumes.collect(&[]).await;
        volumes.all_arrive().await;
        let arrived = volumes.arrived("application");
        assert_eq!(ids(&arrived), volumes.expected());
        let forged = arrived.iter().filter(|record| {
            let event = record
                .attributes
                .get("event")
                .and_then(|event| event.as_str());
            event.is_none_or(|event| event.contains("forged"))
        });
        assert_eq!(forged.count(), 0);
        let refused = arrived
            .iter()
            .find(|record| record.attributes["event"] == "tls.client.refused")
            .unwrap();
        let subject = refused.attributes["subject"].as_str().unwrap();
        assert!(subject.contains(EVIL), "{format}: {subject:?}");
        let audit = volumes.arrived("audit");
        assert_eq!(places(&audit).len(), volumes.written("audit").len());
        let whose = |name: &str| {
            let all = audit
                .iter()
                .filter_map(move |record| record.attributes.get(name));
            all.map(|value| value.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert!(
            whose("reason").contains(&reason.to_owned()),
            "{:?}",
            whose("reason")
        );
        assert!(
            whose("subject")
                .iter()
                .any(|subject| subject.contains(EVIL))
        );
    }
}
