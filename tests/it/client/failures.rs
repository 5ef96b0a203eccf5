//! Exit codes, and sentences that say what to do.

use std::{
    fs,
    time::{Duration, Instant},
};

use simkube::{Fault, On, Rule};

use super::{Site, failed};
use crate::{
    cli::silent_port,
    support::{
        eventually,
        program::{Program, headcount},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_exit_code_and_says_what_to_do() {
    let site = Site::with(&["--max-replicas=10"]).await;
    let ended = site.run(&["get", "shpo"]).await;
    failed(&ended, 4, &["did you mean web/shop?"]);
    // Not for the price of a list of everything.
    let told = site.run(&["get", "shpo", "-v"]).await;
    assert!(
        told.stderr.iter().any(|line| line.contains("?limit=1000"))
            && !told
                .stderr
                .iter()
                .any(|line| line.contains("/deployments 200")),
        "{told:#?}"
    );
    let ended = site.run(&["set", "jobs/shop", "3"]).await;
    failed(&ended, 4, &["did you mean web/shop?"]);
    failed(
        &site.run(&["restart", "shop"]).await,
        3,
        &["restart", "headcount whoami"],
    );
    failed(&site.run(&["set", "shop", "11"]).await, 7, &["10"]);
    failed(
        &site.run(&["set", "shop", "3", "--current", "2"]).await,
        5,
        &["web/shop has 1 replica now and not 2"],
    );
    failed(
        &site.run(&["set", "shop", "3", "--if-match", "\"x\""]).await,
        5,
        &["1"],
    );
    failed(&site.run(&["step", "shop", "-5"]).await, 7, &[]);
    assert_eq!(site.count().await, 1);

    let files = &site.serving.files;
    failed(
        &site.run_as(&files.expired, &["list"]).await,
        3,
        &["refused the client certificate", "it has expired"],
    );
    let foreign = files.foreign_ca.display().to_string();
    failed(
        &site.run(&["list", "--ca", &foreign]).await,
        1,
        &["failed to trust"],
    );

    // Those that are there are shown all the same.
    let ended = site
        .run(&["get", "shop", "nothing", "admin", "-o", "name"])
        .await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(4), &["web/shop".to_owned(), "web/admin".into()][..]),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_sixty_four_and_nothing_is_sent() {
    let site = Site::start().await;
    let long = "x".repeat(257);
    for (args, part) in [
        (&["set", "shop", "-1"][..], "-1"),
        (&["set", "shop", "many"], "many"),
        (&["set", "shop"], "COUNT"),
        // A sign is that of a step.
        (
            &["set", "shop", "+3"],
            "`headcount step` takes so many more",
        ),
        (
            &["set", "shop", "--", "-1"],
            "`headcount step` takes so many more",
        ),
        (&["set", "shop", "1e1"], "from 0 to 2147483647"),
        (&["batch", "shop=+3"], "`headcount step` takes so many more"),
        (
            &["set", "shop", "3", "--for=99999999999999h"],
            "as long as the server lets it be",
        ),
        (
            &["set", "shop", "3", "--for=now"],
            "as long as the server lets it be",
        ),
        (
            &["set", "shop", "3", "--reason", &long],
            "give 1 to 256 characters",
        ),
        (
            &["batch", "shop=3", "--reason", "a\u{202e}b"],
            "reorder text",
        ),
        (&["cancel", "shop", "--reason", " "], "give 1 to 256"),
        (&["step", "shop", "2"], "with its sign"),
        (&["step", "shop", "+0"], "with its sign"),
        (&["get", "../shop"], "NAME"),
        (&["get", "web/shop", "-n", "jobs"], "leave out one of them"),
        (
            &["get", "shop", "--context", "prod"],
            "there is no context \"prod\"",
        ),
        (&["image", "shop", "app"], "CONTAINER=IMAGE"),
        (&["image", "shop", "app=BAD IMAGE"], "example.org/shop:1.2"),
        (
            &["set", "shop", "3", "--dry-run", "--wait"],
            "leave out one of them",
        ),
        (
            &["set", "shop", "3", "--reason", "a\nb"],
            "control characters",
        ),
        (&["get", "shop", "--key", "/nonexistent"], "/nonexistent"),
        (
            &["batch", "shop=3", "web/shop=4"],
            "web/shop is named twice",
        ),
        (&["batch", "-l", "a=b"], "give one COUNT"),
    ] {
        failed(&site.run(args).await, 64, &[part]);
    }
    assert_eq!(site.count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_named_of_a_server_is_said_with_the_file_that_has_no_contexts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nothing.yaml");
    let run = async |args: &[&str]| {
        let mut command = headcount(args);
        command.env("HEADCOUNT_CONTEXTS", &file);
        Program::start(command).ended().await
    };
    failed(
        &run(&["list"]).await,
        64,
        &[
            "no server is named",
            "headcount context add",
            "nothing.yaml",
        ],
    );
    let server = ["list", "--server=https://127.0.0.1:1"];
    failed(&run(&server).await, 64, &["no CA is named"]);
    fs::write(
        &file,
        "contexts: {a: {server: https://a, ca: a, cert: a, key: a}}\n",
    )
    .unwrap();
    failed(
        &run(&["list"]).await,
        64,
        &["no server is named", "headcount context use"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_and_one_that_says_nothing_are_told_apart() {
    let site = Site::start().await;
    let silent = silent_port();
    let away = format!("https://{}", silent.local_addr().unwrap());
    failed(
        &site.run(&["get", "shop", "--server", &away]).await,
        8,
        &["failed to connect to"],
    );
    let listener = silent.listen(1).unwrap();
    let ended = site
        .run(&["set", "shop", "3", "--server", &away, "--timeout=300ms"])
        .await;
    failed(&ended, 6, &["within 300ms"]);
    // Nothing was sent.
    assert!(!ended.stderr[0].contains("isn't known"), "{ended:#?}");
    drop(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_time_is_up_and_when_somebody_else_sets_the_count() {
    let site = Site::start().await;
    site.cluster.cluster.set_rollout(None);
    let began = Instant::now();
    let ended = site.run(&["set", "shop", "3", "--wait=1500ms"]).await;
    assert!(began.elapsed() >= Duration::from_millis(1500), "{ended:#?}");
    assert_eq!((ended.code, ended.stdout.len()), (Some(6), 1), "{ended:#?}");
    assert!(
        ended
            .stderr
            .last()
            .unwrap()
            .contains("is not complete after 1.5s"),
        "{ended:#?}"
    );

    let program = Program::start(site.command(&["set", "shop", "4", "--wait=30s"]));
    eventually(
        Duration::from_secs(10),
        "the first line of the rollout",
        async || !program.stderr().is_empty(),
    )
    .await;
    site.cluster.cluster.scale("web", "shop", Some(7)).unwrap();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    assert!(
        ended.stderr.last().unwrap().contains("superseded"),
        "{ended:#?}"
    );

    site.says(&["pause", "shop"]).await;
    failed_at_last(
        &site.run(&["wait", "shop", "--for=10s"]).await,
        1,
        "headcount resume web/shop",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_shown_of_a_deployment_of_which_kubernetes_tells_no_more() {
    let site = Site::start().await;
    let away = Rule::new(
        On::Get,
        Fault::Status {
            code: 503,
            retry_after: None,
        },
    );
    site.cluster.cluster.faults().add(away);
    let ended = site.run(&["get", "admin", "--timeout=60s"]).await;
    assert_eq!(ended.code, Some(8), "{ended:#?}");
    assert_eq!(
        ended.stdout,
        [
            "NAMESPACE  NAME   DESIRED  READY    STATUS   ALSO-SET-BY  SET-BY",
            "web        admin  1        unknown  unknown  unknown      unknown"
        ]
    );
    failed_at_last(
        &ended,
        8,
        "of web/admin nothing but the count is known, 1: ",
    );
    // Data for programs is whole or not there.
    let ended = site
        .run(&["get", "admin", "-o", "json", "--timeout=60s"])
        .await;
    failed(&ended, 8, &["nothing but the count is known"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_tag_that_is_told_makes_a_write_conditional() {
    let site = Site::start().await;
    let ended = site.run(&["get", "shop", "--show-etags"]).await;
    let of = |write: &str| {
        let line = ended.stderr.iter().find(|line| {
            let writes = line.split_once(" of ").map(|(_, writes)| writes);
            writes.is_some_and(|writes| writes.split([' ', ',']).any(|word| word == write))
        });
        line.unwrap_or_else(|| panic!("{write}: {ended:#?}"))
            .split('\'')
            .nth(1)
            .unwrap()
    };
    let set = ["set", "shop", "3", "--if-match", of("set")];
    let image = [
        "image",
        "shop",
        "main=example.org/app:2",
        "--if-match",
        of("image"),
    ];
    let pause = ["pause", "shop", "--if-match", of("pause")];
    // A pause first, whose tag changes with whatever changes.
    for write in [&pause[..], &set, &image] {
        assert_eq!(site.says(write).await.len(), 1);
        failed(&site.run(write).await, 5, &[]);
    }
}

fn failed_at_last(ended: &crate::support::program::Ended, code: i32, part: &str) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    assert!(ended.stderr.last().unwrap().contains(part), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_wait_and_says_that_the_rollout_goes_on() {
    let site = Site::start().await;
    site.cluster.cluster.set_rollout(None);
    let program = Program::start(site.command(&["set", "shop", "3", "--wait"]));
    eventually(
        Duration::from_secs(10),
        "the first line of the rollout",
        async || !program.stderr().is_empty(),
    )
    .await;
    program.signal("INT");
    failed_at_last(&program.ended().await, 130, "its rollout goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_answer_is_lost_is_made_once() {
    let site = Site::start().await;
    // Kubernetes carries it out and takes longer to say so than the client waits.
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_millis(900))).times(1);
    site.cluster.cluster.faults().add(slow);
    let ended = site.run(&["step", "shop", "+2", "--timeout=600ms"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(site.count().await, 3);
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_has_enough_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.yaml");
    fs::write(
        &file,
        "contexts: {a: {server: https://a, ca: a, cert: a, key: a}}\n",
    )
    .unwrap();
    let list = |stdout: std::process::Stdio| {
        let mut command = headcount(["context", "list"]);
        command
            .env("HEADCOUNT_CONTEXTS", &file)
            .stdout(stdout)
            .output()
            .unwrap()
    };
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = list(full.into());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = list(writer.into());
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(0), 0),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_none_or_out_of_bounds_is_told_with_its_bounds() {
    for (words, bounds) in [
        (&["set", "shop", "x"][..], "0 to 2147483647"),
        (&["set", "shop", "2147483648"], "0 to 2147483647"),
        (&["set", "shop", "-1"], "0 to 2147483647"),
        (&["step", "shop", "+1", "--current=1.5"], "0 to 2147483647"),
        (&["rollback", "shop", "--to=0"], "1 to 18446744073709551615"),
        (&["list", "--chunk-size=10001"], "0 to 10000"),
        (&["history", "--limit=many"], "1 to 1000"),
        (
            &["pki", "issue", "--client", "alice", "--days=x"],
            "1 to 3650",
        ),
    ] {
        let ended = Program::start(headcount(words)).ended().await;
        let said = ended.stderr.join("\n");
        assert_eq!(ended.code, Some(64), "{words:?}: {said}");
        let give = format!("give a whole number from {bounds}");
        assert!(said.contains(&give), "{words:?}: {said}");
    }
}
