use std::io::Write as _;

use clap::Parser;

use super::*;
use crate::{
    access::{Verb, Verbs},
    telemetry::log::{Format, Severity},
    tls::{Checks, Group},
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

const NEEDED: [&str; 4] = ["serve", "--tls-cert=c", "--tls-key=k", "--client-ca=a"];

fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let flags = Cli::try_parse_from(NEEDED.iter().chain(flags))
        .unwrap()
        .args;
    Config::load(flags, environment.iter().map(|(n, v)| (n.into(), v.into())))
}

fn load_file(text: &str, flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let flags: Vec<_> = flags
        .iter()
        .map(|f| (*f).to_owned())
        .chain([format!("--config={path}")])
        .collect();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    load(&flags, environment).map_err(|e| e.to_string().replace(&path, "FILE"))
}

#[test]
fn what_is_not_given_has_a_default() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8443");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(
        (config.writes.max_replicas, config.writes.read_only),
        (10_000, false)
    );
    assert_eq!(
        (config.log.format, config.log.levels.general),
        (Format::Text, Severity::Info)
    );
    assert!(config.managed.namespaces.is_empty());
}

#[test]
fn flags_win_then_the_environment_then_the_file() {
    let file = "apiVersion: headcount/v1alpha1\nkind: Configuration\nmaxReplicas: 1\nlogging: {format: json}\nreadOnly: true\nnamespace: [a, b]\nlisten: \"[::1]:0\"\n";
    let environment = [
        ("HEADCOUNT_MAX_REPLICAS", "2"),
        ("HEADCOUNT_LOG_FORMAT", "text"),
        ("HEADCOUNT_NAMESPACE", "c,d"),
    ];
    let config = load_file(
        file,
        &["--max-replicas=3", "--read-only=false"],
        &environment,
    )
    .unwrap();
    assert_eq!(config.writes.max_replicas, 3);
    assert!(!config.writes.read_only);
    assert_eq!(config.log.format, Format::Text);
    assert_eq!(config.managed.namespaces, ["c", "d"]);
    assert_eq!(config.listen.to_string(), "[::1]:0");
}

#[test]
fn no_escape_code_of_a_variable_reaches_a_terminal() {
    for (name, value) in [
        ("HEADCOUNT_\u{1b}[2JX", "1"),
        ("HEADCOUNT_MAX_REPLICAS", "\u{1b}[2J\n\u{7}"),
    ] {
        let said = load(&[], &[(name, value)]).unwrap_err().to_string();
        assert!(!said.chars().any(char::is_control), "{said:?}");
        assert!(said.contains("\\u{1b}"), "{said}");
    }
}

#[test]
fn the_environment_alone_is_enough() {
    let environment = [
        ("HEADCOUNT_TLS_CERT", "c"),
        ("HEADCOUNT_TLS_KEY", "k"),
        ("HEADCOUNT_CLIENT_CA", "a,b"),
        ("HEADCOUNT_READ_ONLY", "true"),
    ];
    let config = Config::load(
        ServeArgs::default(),
        environment.iter().map(|(n, v)| (n.into(), v.into())),
    )
    .unwrap();
    assert_eq!(
        config.tls.client_ca,
        [PathBuf::from("a"), PathBuf::from("b")]
    );
    assert!(config.writes.read_only);
}

#[test]
fn an_unknown_key_of_the_file_is_named_with_its_line() {
    let error = load_file(
        "apiVersion: headcount/v1alpha1\nkind: Configuration\nmaxReplica: 5\n",
        &[],
        &[],
    )
    .unwrap_err();
    assert!(
        error.contains("line 3") && error.contains("maxReplica"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_file_says_what_it_is() {
    for (text, part) in [
        ("kind: Configuration\n", "it has no apiVersion"),
        ("apiVersion: headcount/v1alpha1\n", "it has no kind"),
        (
            "kind: Configuration\napiVersion: apps/v1\n",
            "at line 2: apiVersion is \"apps/v1\"",
        ),
        (
            "apiVersion: headcount/v1alpha1\nkind: Configuration\nmaxReplicas: many\n",
            "line 3",
        ),
        (
            "apiVersion: headcount/v1alpha1\nkind: Configuration\nlisten: somewhere\n",
            "line 3",
        ),
        ("a: [", "line"),
    ] {
        let error = load_file(text, &[], &[]).unwrap_err();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn a_variable_that_is_no_setting_is_an_error_and_a_service_link_is_not() {
    let error = load(&[], &[("HEADCOUNT_MAX_REPLICA", "5")])
        .unwrap_err()
        .to_string();
    assert!(error.contains("HEADCOUNT_MAX_REPLICA"), "{error}");
    let links = [
        ("HEADCOUNT_PORT", "tcp://10.0.0.1:443"),
        ("HEADCOUNT_PORT_443_TCP", "tcp://[fd00::1]:443"),
        ("HEADCOUNT_PORT_443_TCP_ADDR", "10.0.0.1"),
        ("HEADCOUNT_PORT_443_TCP_PORT", "443"),
        ("HEADCOUNT_PORT_443_TCP_PROTO", "tcp"),
        ("HEADCOUNT_SERVICE_HOST", "10.0.0.1"),
        ("HEADCOUNT_SERVICE_PORT_HTTPS", "443"),
        ("HEADCOUNT_METRICS_SERVICE_PORT", "80"),
        ("HEADCOUNT_LOG_LEVEL", ""),
    ];
    assert!(load(&[], &links).is_ok());
    let of_the_client = ("HEADCOUNT_CONTEXTS", "/etc/contexts.yaml");
    assert!(load(&[], &[of_the_client]).is_ok());
    for (name, value) in [
        ("HEADCOUNT_LISTEN_PORT", "1"),
        ("HEADCOUNT_PORT", "8443"),
        ("HEADCOUNT_X_SERVICE_Y", "z"),
        ("HEADCOUNT_SERVICE_HOST", "localhost"),
        ("HEADCOUNT_SERVICE_PORT", "https"),
        ("HEADCOUNT_PORT_X_TCP_ADDR", "10.0.0.1"),
        ("HEADCOUNT_PORT_443_TCP_ADDR", "nowhere"),
        ("HEADCOUNT_PORT_443_TCP_X", "10.0.0.1"),
    ] {
        let error = load(&[], &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_value_of_the_file_that_cannot_be_is_named_with_its_key_and_line() {
    let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
    for (line, start) in [
        ("maxReplicas: -5", "line 3: maxReplicas \"-5\" can't be"),
        (
            "namespace: [web, A_b]",
            "line 3: namespace \"A_b\" can't be",
        ),
        (
            "labelSelector: a in (",
            "line 3: labelSelector \"a in (\" can't be",
        ),
    ] {
        let error = load_file(&format!("{head}{line}\n"), &[], &[]).unwrap_err();
        let whole = format!("failed to understand the configuration file \"FILE\" at {start}");
        assert!(error.starts_with(&whole), "{error}");
    }
}

#[test]
fn a_bound_that_was_emptied_is_no_wider_one() {
    let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
    for (line, part) in [
        ("namespace: []", "line 3"),
        ("namespace: ~", "line 3"),
        ("namespace:", "line 3"),
        ("namespace: \"\"", "namespace"),
        ("clientCa: []", "line 3"),
        ("labelSelector: \"\"", "labelSelector"),
        ("labelSelector: \" \"", "labelSelector"),
        ("labelSelector: ~", "line 3"),
        ("readOnly: ~", "line 3"),
        ("readOnly:", "line 3"),
        ("maxReplicas: ~", "line 3"),
        ("listen: ~", "line 3"),
        ("logFormat: ~", "line 3"),
        ("logging: {level: ~}", "line 3"),
    ] {
        let error = load_file(&format!("{head}{line}\n"), &[], &[]).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
    for value in [",", " , "] {
        let error = load(&[], &[("HEADCOUNT_NAMESPACE", value)]).unwrap_err();
        assert!(error.to_string().contains("HEADCOUNT_NAMESPACE"), "{error}");
    }
    let error = load(&["--label-selector="], &[]).unwrap_err().to_string();
    assert!(error.starts_with("--label-selector"), "{error}");
}

#[test]
fn a_value_that_cannot_be_is_an_error_that_names_it() {
    for (name, value) in [
        ("HEADCOUNT_LISTEN", "nowhere"),
        ("HEADCOUNT_MAX_REPLICAS", "-1"),
        ("HEADCOUNT_READ_ONLY", "maybe"),
        ("HEADCOUNT_NAMESPACE", "A_b"),
    ] {
        let error = load(&[], &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(value) && !error.contains('\n'), "{error}");
    }
    let missing = Config::load(ServeArgs::default(), [])
        .unwrap_err()
        .to_string();
    assert!(missing.starts_with("--client-ca is missing"), "{missing}");
}

const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";

fn enabled(verbs: &[Verb]) -> Authorization {
    Authorization::Any(Verbs::USUAL.with(verbs.iter().copied().collect()))
}

#[test]
fn verbs_are_enabled_by_flags_or_the_environment_or_the_file() {
    let file = format!("{HEAD}authorization: {{enable: [restart]}}\n");
    let environment = [("HEADCOUNT_ENABLE", "image,restart")];
    let authorization = |flags: &[&str], environment: &[_]| {
        load_file(&file, flags, environment).map(|config| config.authorization)
    };
    assert_eq!(load(&[], &[]).unwrap().authorization, enabled(&[]));
    assert_eq!(authorization(&[], &[]), Ok(enabled(&[Verb::Restart])));
    let both = enabled(&[Verb::Image, Verb::Restart]);
    assert_eq!(authorization(&[], &environment), Ok(both.clone()));
    assert_eq!(
        authorization(&["--enable=image", "--enable=restart"], &[]),
        Ok(both)
    );
    assert_eq!(
        authorization(&["--enable=image"], &environment),
        Ok(enabled(&[Verb::Image]))
    );
    let error = load(&[], &[("HEADCOUNT_ENABLE", "delete")]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("get, list, watch, scale, image, restart, pause and rollback"),
        "{error}"
    );
    let error = load_file(&format!("{HEAD}enable: [image]\n"), &[], &[]).unwrap_err();
    assert!(
        error.contains("line 3") && error.contains("enable"),
        "{error}"
    );
}

const RULES: &str =
    "authorization:\n  mode: policy\n  rules:\n    - {name: a, subjects: [a], verbs: [get]}\n";

#[test]
fn a_wrong_rule_is_named_with_the_file_the_line_and_the_rule() {
    let error = load_file(
        &format!("{HEAD}{}", RULES.replace("[get]", "[get, go]")),
        &[],
        &[],
    );
    let start = "failed to understand the configuration file \"FILE\" at line 6: authorization: rule \"a\": verbs: \"go\" is no verb";
    let error = error.unwrap_err();
    assert!(error.starts_with(start), "{error}");
    for nothing in ["authorization:", "authorization: ~"] {
        let error = load_file(&format!("{HEAD}{nothing}\n"), &[], &[]).unwrap_err();
        assert!(error.contains("line 3"), "{error}");
    }
}

#[test]
fn verbs_are_enabled_in_mode_any_alone() {
    let error = load_file(&format!("{HEAD}{RULES}"), &["--enable=image"], &[]).unwrap_err();
    assert!(error.starts_with("--enable \"image\" can't be"), "{error}");
}

#[test]
fn who_may_do_what_is_known_without_certificates() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(format!("{HEAD}{RULES}maxReplicas: 7\n").as_bytes())
        .unwrap();
    let access = Config::access(file.path()).unwrap();
    let said = (access.authorization.mode(), access.server.max);
    assert_eq!(said, ("policy", Some(7)));
}

#[test]
fn what_clients_are_judged_by_is_the_strictest_unless_the_file_says_otherwise() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.tls_settings, TlsSettings::default());
    let checks = config.tls_settings.checks;
    assert!(
        checks.require_extended_key_usage
            && checks.key_usage
            && checks.refuse_self_signed
            && checks.root_validity
            && checks.root_path_length
            && checks.root_usage
    );
    assert_eq!(checks.expired_crl, crate::tls::ExpiredCrl::Refuse);
    assert_eq!(
        (checks.require_crl, checks.maximum_lifetime_days),
        (false, None)
    );
    let file = "apiVersion: headcount/v1alpha1\nkind: Configuration\nclientCrl: r.crl\ndenyList: d.yaml\n\
        tlsCipherSuite: TLS_AES_128_GCM_SHA256\ntlsGroup: [x25519, SECP384R1]\n\
        clientCertificates:\n  keyUsage: false\n  maximumLifetimeDays: 90\n  minimumRsaBits: 3072\n  minimumHash: sha384\n  \
        requireCrl: true\n  expiredCrl: accept\n";
    let Config {
        tls, tls_settings, ..
    } = load_file(file, &[], &[]).unwrap();
    assert_eq!(tls.client_crl, [PathBuf::from("r.crl")]);
    assert_eq!(tls.deny_list, Some(PathBuf::from("d.yaml")));
    assert_eq!(
        tls_settings.cipher_suites[0].to_string(),
        "TLS_AES_128_GCM_SHA256"
    );
    assert_eq!(
        tls_settings
            .groups
            .iter()
            .map(Group::to_string)
            .collect::<Vec<_>>(),
        ["x25519", "secp384r1"]
    );
    let expected = Checks {
        key_usage: false,
        maximum_lifetime_days: std::num::NonZeroU32::new(90),
        minimum_rsa_bits: 3072.try_into().unwrap(),
        minimum_hash: crate::tls::Hash::Sha384,
        require_crl: true,
        expired_crl: crate::tls::ExpiredCrl::Accept,
        ..Checks::default()
    };
    assert_eq!(tls_settings.checks, expected);
    let more = ["--client-crl=a", "--client-crl=b", "--tls-group=x25519"];
    let environment = [
        ("HEADCOUNT_TLS_GROUP", "secp256r1"),
        (
            "HEADCOUNT_TLS_CIPHER_SUITE",
            "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384",
        ),
    ];
    let config = load(&more, &environment).unwrap();
    assert_eq!(config.tls.client_crl.len(), 2);
    assert_eq!(config.tls_settings.groups, ["x25519".parse().unwrap()]);
    assert_eq!(config.tls_settings.cipher_suites.len(), 2);
}

#[test]
fn a_check_that_does_not_exist_or_cannot_be_is_named_with_its_line() {
    let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
    for (lines, part) in [
        ("clientCertificates:\n  keyusage: false", "keyusage"),
        (
            "clientCertificates:\n  minimumRsaBits: 1024",
            "1024 is no length of usable RSA keys",
        ),
        (
            "clientCertificates:\n  minimumRsaBits: 16384",
            "16384 is no length of usable RSA keys",
        ),
        ("clientCertificates:\n  minimumHash: sha1", "sha1"),
        ("clientCertificates:\n  maximumLifetimeDays: 0", "line 4"),
        ("clientCertificates:\n  maximumLifetimeDays: -1", "line 4"),
        ("clientCertificates:\n  expiredCrl: ignore", "ignore"),
        ("clientCertificates:", "line 3"),
        ("clientCrl: []", "line 3"),
        ("denyList:", "line 3"),
        (
            "tlsGroup: x448",
            "\"x448\": there is no such key-exchange group; choose among x25519, ",
        ),
        (
            "tlsCipherSuite: [TLS_AES_128_GCM_SHA256, TLS_NULL]",
            "\"TLS_NULL\": there is no such cipher suite",
        ),
    ] {
        let error = load_file(&format!("{head}{lines}\n"), &[], &[]).unwrap_err();
        assert!(
            error.contains(part) && error.contains("line"),
            "{lines}: {error}"
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2048))]

    #[test]
    fn a_damaged_file_is_read_or_refused_with_one_line(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        length in 0..40usize,
        more in "[\\PC\\n]{0,12}",
    ) {
        let whole = "apiVersion: headcount/v1alpha1\nkind: Configuration\nlisten: \"[::1]:0\"\nnamespace: [a, b]\nclientCrl: x\n\
            labelSelector: team in (a)\nmaxReplicas: 5\ntlsGroup: [x25519]\nclientCertificates:\n  keyUsage: false\n  minimumHash: sha384\n\
            identity:\n  principal: [uri]\n  authorities: [{clientCa: x, names: ['ci-*']}]\n\
            authorization:\n  mode: policy\n  rules:\n    - name: ci\n      subjects: ['ci-*', 'group:a']\n      verbs: [get, scale, image]\n      \
            namespaces: [a]\n      labelSelector: tier in (front,back),!old\n      bounds: {min: 1, max: 9, allowZero: true}\n      \
            images: {registries: [registry.example.com/a], tags: ['v*'], digest: allowed}\n";
        let at = at.index(whole.len());
        let end = whole.len().min(at + length);
        let damaged = format!("{}{more}{}", &whole[..at], &whole[end..]);
        if let Err(error) = load_file(&damaged, &[], &[]) {
            proptest::prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}
