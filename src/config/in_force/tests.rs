use std::io::Write as _;

use clap::Parser;

use super::*;
use crate::config::Config;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";

fn args(flags: &[&str]) -> ServeArgs {
    let all = ["serve"].into_iter().chain(flags.iter().copied());
    Cli::try_parse_from(all).unwrap().args
}

/// What is in force, and the same configuration as a server has it, without what it was made of.
fn in_force(text: &str, flags: &[&str], variables: &[(&str, &str)]) -> (InForce, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let config = format!("--config={path}");
    let flags: Vec<_> = flags.iter().copied().chain([config.as_str()]).collect();
    let variables = || variables.iter().map(|(n, v)| (n.into(), v.into()));
    let mut printed = args(&flags).in_force(variables()).unwrap();
    for origin in printed.origins.values_mut() {
        *origin = origin.replace(&path, "FILE");
    }
    let config = Config::load(args(&flags), variables()).unwrap();
    (printed, shown(config))
}

fn shown(mut config: Config) -> String {
    config.source = crate::config::Source::default();
    config.deprecated.clear();
    format!("{config:#?}")
}

const NEEDED: [&str; 3] = ["--tls-cert=c", "--tls-key=k", "--client-ca=a"];

#[test]
fn each_value_has_its_origin_and_lists_and_sections_theirs() {
    let text = format!(
        "{HEAD}# limits\nmaxReplicas: 5\nlogLevel: warn\nlogging:\n  levels: {{tls: debug}}\nlimits:\n  times: {{idle: 9s}}\n  rates:\n    reads: {{perSecond: 3}}\n"
    );
    let variables = [
        ("HEADCOUNT_NAMESPACE", "a,b"),
        ("HEADCOUNT_MAX_REPLICAS", "6"),
    ];
    let (printed, _) = in_force(
        &text,
        &[
            "--tls-cert=c",
            "--tls-key=k",
            "--client-ca=a",
            "--log-format=json",
            "--enable=image",
        ],
        &variables,
    );
    for (path, value, origin) in [
        ("/maxReplicas", "6", "HEADCOUNT_MAX_REPLICAS"),
        ("/namespace", r#"["a","b"]"#, "HEADCOUNT_NAMESPACE"),
        ("/tlsCert", r#""c""#, "--tls-cert"),
        ("/logging/format", r#""json""#, "--log-format"),
        ("/logging/level", r#""warn""#, "FILE:5"),
        ("/logging/levels", r#"{"tls":"debug"}"#, "FILE:7"),
        ("/logging/stderr", "true", "default"),
        ("/authorization/enable", r#"["image"]"#, "--enable"),
        ("/authorization/mode", r#""any""#, "default"),
        ("/limits/times/idle", r#""9s""#, "FILE:9"),
        ("/limits/times/body", r#""20s""#, "default"),
        ("/limits/rates/reads/perSecond", "3", "FILE:11"),
        ("/limits/rates/podsPerMinute", r#""unlimited""#, "default"),
        ("/clientCertificates/minimumHash", r#""sha256""#, "default"),
        ("/listen", r#""0.0.0.0:8443""#, "default"),
    ] {
        let found = printed.configuration.pointer(path).map(ToString::to_string);
        assert_eq!(
            found.as_deref(),
            Some(value),
            "{path}: {:#}",
            printed.configuration
        );
        assert_eq!(
            printed.origins.get(path).map(String::as_str),
            Some(origin),
            "{path}"
        );
    }
    // What isn't on isn't there.
    for off in [
        "/audit",
        "/logging/file",
        "/kubeconfig",
        "/identity/authorities",
    ] {
        assert_eq!(printed.configuration.pointer(off), None, "{off}");
    }
    let yaml = printed.yaml();
    for line in [
        "  format: json  # --log-format",
        "maxReplicas: 6  # HEADCOUNT_MAX_REPLICAS",
        "namespace: [a, b]  # HEADCOUNT_NAMESPACE",
        "    idle: 9s  # FILE:9",
    ] {
        assert!(yaml.lines().any(|l| l == line), "{line}: {yaml}");
    }
}

#[test]
fn what_is_printed_is_a_file_that_means_the_same() {
    let most = include_str!("../../../tests/first-version/configuration.yaml");
    for (text, flags) in [
        (HEAD.to_owned(), &NEEDED[..]),
        (
            most.to_owned(),
            &["--log-format=text", "--drain-delay=1m30s"][..],
        ),
        (
            most.to_owned(),
            &[
                "--label-selector=a in (b, c),!d",
                "--context=yes",
                "--namespace=on",
            ][..],
        ),
    ] {
        let (printed, meant) = in_force(&text, flags, &[]);
        let (again, the_same) = in_force(&printed.yaml(), &[], &[]);
        assert_eq!(meant, the_same, "{}", printed.yaml());
        assert_eq!(printed.configuration, again.configuration);
        let (_, as_json) = in_force(&printed.configuration.to_string(), &[], &[]);
        assert_eq!(meant, as_json);
    }
}

#[test]
fn text_that_could_be_something_else_is_in_quotes() {
    for (text, written) in [
        ("a-b/c.d", "a-b/c.d"),
        ("/etc/x", "/etc/x"),
        ("1m30s", "1m30s"),
        ("64Ki", "64Ki"),
        ("0x10", "\"0x10\""),
        ("true", "\"true\""),
        ("Yes", "\"Yes\""),
        ("1", "\"1\""),
        ("a: b", "\"a: b\""),
        ("*", "\"*\""),
        ("", "\"\""),
        ("a\n\u{1b}", "\"a\\n\\u001b\""),
    ] {
        assert_eq!(scalar(&text.into()), written);
        let read: String = serde_saphyr::from_str(&format!("- {}", scalar(&text.into())))
            .map(|mut list: Vec<String>| list.remove(0))
            .unwrap();
        assert_eq!(read, text);
    }
}
