//! What goes wrong behind the page's back, and what it says then.

use std::{fs, path::Path};

use headcount::pki::{DenyBy, deny};
use serde_json::{Value, json};
use simkube::{Fault, NewDeployment, On, Rule};

use super::{
    browser::{play, seen, world},
    count, served, usual,
};
use crate::support::{SimCluster, program::Serving};

#[test]
fn what_the_cluster_says_is_text_and_never_a_part_of_the_page() {
    seen(async || {
        let (sim, server) = served().await;
        let evil = "<img src=x onerror=\"window.hacked=1\">\u{202e}gpj\u{61c}\u{ad}";
        let new = NewDeployment::new("web", "evil").image(evil);
        assert!(sim.cluster.create(new.label("app", evil)).is_some());
        let webhook = Fault::Webhook {
            name: "deny.example".into(),
            message: evil.into(),
            code: 403,
        };
        sim.cluster.faults().add(Rule::new(On::Scale, webhook));
        let world = world(server.address, &server.files);
        play("hostile.mjs", &world, async |step, details| match step {
            "somebody turned scales" => {
                let (namespace, name, count) = count(details);
                let by = ("\u{202e}nimda\u{61c}", "");
                json!(sim.cluster.scale_by(namespace, name, count, by).is_some())
            }
            _ => usual(&sim, &server, step, details).await,
        })
        .await;
    });
}

#[test]
fn another_sites_page_can_read_nothing_and_write_nothing_with_the_browsers_certificate() {
    seen(async || {
        let (sim, server) = served().await;
        let mut world = world(server.address, &server.files);
        // The other site is another server of this machine.
        world["site"] = json!({
            "certificate": server.files.server.certificate,
            "key": server.files.server.key,
        });
        let before = sim.writes();
        play("cross_site.mjs", &world, async |step, details| {
            usual(&sim, &server, step, details).await
        })
        .await;
        assert_eq!(sim.writes(), before, "nothing was sent");
    });
}

/// A cluster with a few Deployments.
async fn cluster() -> SimCluster {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    sim.create("web", "cart", 2);
    sim
}

#[test]
fn a_server_that_is_killed_is_told_of_and_after_its_restart_the_page_goes_on() {
    seen(async || {
        let sim = cluster().await;
        let mut serving = Some(Serving::healthy(sim.kubeconfig(), &[]).await);
        let (address, files) = {
            let first = serving.as_ref().unwrap();
            (first.address, first.files.clone())
        };
        // The folder of the files goes away with the first server.
        let kept = tempfile::tempdir().unwrap();
        let files = kept_in(kept.path(), files);
        let world = world(address, &files);
        play("restart.mjs", &world, async |step, details| match step {
            "kill" => {
                serving = None;
                Value::Null
            }
            "start" => {
                let listen = format!("--listen={address}");
                let again = Serving::with(&files, sim.kubeconfig(), &[&listen]).await;
                again.becomes_ready().await;
                serving = Some(again);
                Value::Null
            }
            "kubectl scales" => json!(sim.cluster.scale("web", "cart", 8).is_some()),
            "writes hang" => {
                let rule = Rule::new(On::Scale, Fault::AfterCommit(Box::new(Fault::Hang)));
                sim.cluster.faults().add(rule);
                Value::Null
            }
            "nothing hangs" => {
                sim.cluster.faults().clear();
                Value::Null
            }
            "count" => {
                let name = details[1].as_str().unwrap();
                json!(sim.count("web", name))
            }
            _ => panic!("no test does {step:?}"),
        })
        .await;
    });
}

/// The same files in a folder of their own.
fn kept_in(folder: &Path, of: headcount::pki::DemoFiles) -> headcount::pki::DemoFiles {
    let copy = |from: &Path| {
        let to = folder.join(from.file_name().unwrap());
        fs::copy(from, &to).unwrap();
        to
    };
    let mut files = of;
    files.ca = copy(&files.ca);
    for pair in [&mut files.server, &mut files.client] {
        pair.certificate = copy(&pair.certificate);
        pair.key = copy(&pair.key);
    }
    files
}

/// A deny list without anybody on it.
const NOBODY: &str = "apiVersion: headcount/v1alpha1\nkind: DenyList\n";

#[test]
fn a_server_that_lets_the_certificate_in_no_more_is_out_of_reach_and_tried_ever_more_rarely_or_now()
{
    seen(async || {
        let sim = cluster().await;
        let kept = tempfile::tempdir().unwrap();
        let list = kept.path().join("deny-list.yaml");
        fs::write(&list, NOBODY).unwrap();
        let denying = format!("--deny-list={}", list.display());
        let mut serving = Some(Serving::healthy(sim.kubeconfig(), &[&denying]).await);
        let first = serving.as_ref().unwrap();
        let address = first.address;
        // The folder of the files goes away with the first server.
        let files = kept_in(kept.path(), first.files.clone());
        let world = world(address, &files);
        play("lost.mjs", &world, async |step, _| match step {
            "kill" => {
                serving = None;
                Value::Null
            }
            "start" | "start and deny" => {
                fs::write(&list, NOBODY).unwrap();
                if step == "start and deny" {
                    deny(&list, &files.client.certificate, &[DenyBy::Serial]).unwrap();
                }
                let listen = format!("--listen={address}");
                let flags = [denying.as_str(), listen.as_str()];
                let again = Serving::with(&files, sim.kubeconfig(), &flags).await;
                again.becomes_ready().await;
                serving = Some(again);
                Value::Null
            }
            _ => panic!("no test does {step:?}"),
        })
        .await;
    });
}

#[test]
fn whoever_is_let_in_no_more_is_told_so_in_words() {
    seen(async || {
        let sim = cluster().await;
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("deny-list.yaml");
        fs::write(&list, NOBODY).unwrap();
        let flag = format!("--deny-list={}", list.display());
        let serving = Serving::healthy(sim.kubeconfig(), &[&flag]).await;
        let client = &serving.files.client;
        play(
            "revoked.mjs",
            &world(serving.address, &serving.files),
            async |step, _| match step {
                "deny" => json!(deny(&list, &client.certificate, &[DenyBy::Serial]).unwrap()),
                "let in" => json!(fs::write(&list, NOBODY).unwrap()),
                _ => panic!("no test does {step:?}"),
            },
        )
        .await;
    });
}

#[test]
fn a_copy_that_does_not_follow_the_cluster_is_said_to_be_old() {
    seen(async || {
        let (sim, server) = served().await;
        let world = world(server.address, &server.files);
        play("stale.mjs", &world, async |step, details| match step {
            "the cluster is away" => {
                sim.cluster.faults().add(Rule::new(On::Any, Fault::Hang));
                Value::Null
            }
            "the cluster is back" => {
                sim.cluster.faults().clear();
                Value::Null
            }
            _ => usual(&sim, &server, step, details).await,
        })
        .await;
    });
}
