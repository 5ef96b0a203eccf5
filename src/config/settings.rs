//! The settings as they are given: by flags, by environment variables, by the file; and what they make together.

use std::{fmt::Display, path::PathBuf, str::FromStr};

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{
    API_VERSION, Address, Config, ConfigError, Delay, KIND, LeaseSettings, logging::Logging, schema,
};
use crate::{
    access::{Authorization, AuthorizationFile, IdentityRules, Verb, Verbs, WriteRules},
    audit::AuditSettings,
    kubernetes::Managed,
    limits::Limits,
    name,
    numbers::whole_number,
    selector::LabelSelector,
    telemetry::log::{Format, Severity},
    tls::{Checks, CipherSuite, Group, TlsFiles, TlsSettings},
    yaml::given,
};

/// The largest count that may be set, unless another is given.
const MAX_REPLICAS: i32 = 10_000;

/// The flags of `headcount serve`, which the environment (`HEADCOUNT_…`) and the file (camelCase) have too.
///
/// Serialized, it is what flags or variables give, as the file would have it.
#[derive(Debug, Default, Clone, Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The version of this file's form
    #[arg(skip)]
    #[schemars(required, extend("const" = API_VERSION))]
    pub(super) api_version: Option<String>,
    /// What this file is
    #[arg(skip)]
    #[schemars(required, extend("const" = KIND))]
    pub(super) kind: Option<String>,
    /// Kubeconfig of the cluster [default: the usual kubeconfig, then the Pod's own account]
    #[arg(long, value_name = "FILE")]
    #[serde(default, deserialize_with = "given")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "given")]
    context: Option<String>,
    /// Where callers connect, with mutual TLS 1.3 [default: 0.0.0.0:8443]
    #[arg(long, value_name = "ADDR")]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = "0.0.0.0:8443"))]
    listen: Option<Address>,
    /// Where /livez, /readyz and /metrics are, in plain HTTP [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = "127.0.0.1:8081"))]
    admin_listen: Option<Address>,
    /// The server's certificate chain (PEM, leaf first)
    #[arg(long, value_name = "FILE")]
    #[serde(default, deserialize_with = "given")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    #[serde(default, deserialize_with = "given")]
    tls_key: Option<PathBuf>,
    /// CAs whose clients are let in (PEM bundle); repeatable
    #[arg(long, value_name = "FILE")]
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "schema::OneOrMany::<String>")]
    client_ca: Vec<PathBuf>,
    /// Certificate revocation lists of the CAs and of intermediates (PEM or DER); repeatable
    #[arg(long, value_name = "FILE")]
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "schema::OneOrMany::<String>")]
    client_crl: Vec<PathBuf>,
    /// Certificates that are let in no more, by serial number, key or name (YAML)
    #[arg(long, value_name = "FILE")]
    #[serde(default, deserialize_with = "given")]
    deny_list: Option<PathBuf>,
    /// The checks of clients' certificates, each with a switch
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    client_certificates: Option<Checks>,
    /// Cipher suite of TLS 1.3 that may be used; repeatable [default: all three]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "named")]
    #[schemars(with = "schema::OneOrMany::<CipherSuite>", extend("default" = CipherSuite::all()))]
    tls_cipher_suite: Vec<CipherSuite>,
    /// Key-exchange group that may be used; repeatable [default: x25519, secp256r1, secp384r1, X25519MLKEM768]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "named")]
    #[schemars(with = "schema::OneOrMany::<Group>", extend("default" = Group::usual()))]
    tls_group: Vec<Group>,
    /// Manage this namespace only; repeatable [default: all]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "schema::OneOrMany::<schema::Namespace>")]
    namespace: Vec<String>,
    /// Manage only Deployments with these labels (Kubernetes' selector syntax)
    #[arg(long, value_name = "SEL")]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("pattern" = "\\S"))]
    label_selector: Option<String>,
    /// Refuse every write
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = false))]
    read_only: Option<bool>,
    /// How long a shutdown goes on serving, so that whoever sends clients here notices [default: 3s]
    #[arg(long, value_name = "TIME")]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = "3s"))]
    drain_delay: Option<Delay>,
    /// Form of the log lines [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_deserializing)]
    log_format: Option<Format>,
    /// Least severity that is logged [default: info]
    #[arg(long, value_name = "LEVEL")]
    #[serde(skip_deserializing)]
    log_level: Option<Severity>,
    /// What is logged, how, and where to
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    logging: Option<Logging>,
    /// Largest count that may be set [default: 10000]
    #[arg(long, value_name = "N", value_parser = whole_number(0, i32::MAX))]
    #[serde(default, deserialize_with = "given")]
    #[schemars(range(min = 0), extend("default" = MAX_REPLICAS))]
    max_replicas: Option<i32>,
    /// Whom a client's certificate names
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    pub(super) identity: Option<IdentityRules>,
    /// Allow this verb to every client of a known CA, beside get, list, watch and scale; repeatable
    #[arg(long, value_name = "VERB")]
    #[serde(skip_deserializing)]
    enable: Vec<Verb>,
    /// Who may do what
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    pub(super) authorization: Option<AuthorizationFile>,
    /// How much of everything a peer may have
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    limits: Option<Limits>,
    /// Where it is recorded who did what, and what becomes of writes when it can't be
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    audit: Option<AuditSettings>,
    /// Tell of writes in Kubernetes Events on the Deployment
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = false))]
    kubernetes_events: Option<bool>,
    /// Follow HorizontalPodAutoscalers, to tell who else sets a count [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = true))]
    autoscalers: Option<bool>,
    /// Leases of counts
    #[arg(skip)]
    #[serde(default, deserialize_with = "given", skip_serializing)]
    leases: Option<LeaseSettings>,
}

impl Settings {
    /// These settings where they are given, `others` elsewhere.
    pub(super) fn or(self, others: Self) -> Self {
        // Destructured whole, so that no setting is forgotten.
        let Self {
            api_version,
            kind,
            kubeconfig,
            context,
            listen,
            admin_listen,
            tls_cert,
            tls_key,
            client_ca,
            client_crl,
            deny_list,
            client_certificates,
            tls_cipher_suite,
            tls_group,
            namespace,
            label_selector,
            read_only,
            drain_delay,
            log_format,
            log_level,
            logging,
            max_replicas,
            identity,
            enable,
            authorization,
            limits,
            audit,
            kubernetes_events,
            autoscalers,
            leases,
        } = self;
        Self {
            api_version: api_version.or(others.api_version),
            kind: kind.or(others.kind),
            kubeconfig: kubeconfig.or(others.kubeconfig),
            context: context.or(others.context),
            listen: listen.or(others.listen),
            admin_listen: admin_listen.or(others.admin_listen),
            tls_cert: tls_cert.or(others.tls_cert),
            tls_key: tls_key.or(others.tls_key),
            client_ca: either(client_ca, others.client_ca),
            client_crl: either(client_crl, others.client_crl),
            deny_list: deny_list.or(others.deny_list),
            client_certificates: client_certificates.or(others.client_certificates),
            tls_cipher_suite: either(tls_cipher_suite, others.tls_cipher_suite),
            tls_group: either(tls_group, others.tls_group),
            namespace: either(namespace, others.namespace),
            label_selector: label_selector.or(others.label_selector),
            read_only: read_only.or(others.read_only),
            drain_delay: drain_delay.or(others.drain_delay),
            log_format: log_format.or(others.log_format),
            log_level: log_level.or(others.log_level),
            logging: logging.or(others.logging),
            max_replicas: max_replicas.or(others.max_replicas),
            identity: identity.or(others.identity),
            enable: either(enable, others.enable),
            authorization: authorization.or(others.authorization),
            limits: limits.or(others.limits),
            audit: audit.or(others.audit),
            kubernetes_events: kubernetes_events.or(others.kubernetes_events),
            autoscalers: autoscalers.or(others.autoscalers),
            leases: leases.or(others.leases),
        }
    }

    /// Whether the values of what bounds the server can be.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, value: &str, why| {
            let value = value.to_owned();
            Err(ConfigError::Invalid {
                setting,
                value,
                why,
            })
        };
        if let Some(name) = self.namespace.iter().find(|n| !name::is_namespace(n)) {
            return wrong("--namespace", name, "it is no name of a namespace");
        }
        match self.label_selector.as_deref() {
            Some(empty) if empty.trim().is_empty() => wrong(
                "--label-selector",
                "",
                "it bounds nothing; leave it out to manage all Deployments",
            )?,
            Some(selector) if selector.parse::<LabelSelector>().is_err() => wrong(
                "--label-selector",
                selector,
                "it is no label selector, which looks like team=web,tier in (front,back)",
            )?,
            _ => {}
        }
        if let Some(Err(why)) = self.identity.as_ref().map(IdentityRules::check) {
            return wrong("--identity", "principal", why);
        }
        if let Some(Err((value, why))) = self.logging.as_ref().map(Logging::check) {
            return wrong("--logging", &value, why);
        }
        match self.max_replicas {
            Some(count) if count < 0 => {
                wrong("--max-replicas", &count.to_string(), "it must be 0 or more")
            }
            _ => Ok(()),
        }
    }

    /// Who may do what: as the file says, with the verbs that were enabled elsewhere in place of the file's.
    fn authorization(&self, file: Authorization) -> Result<Authorization, ConfigError> {
        let Some(first) = self.enable.first() else {
            return Ok(file);
        };
        match file {
            Authorization::Any(_) => {
                let enabled = self.enable.iter().copied().collect();
                Ok(Authorization::Any(Verbs::USUAL.with(enabled)))
            }
            _ => Err(ConfigError::Invalid {
                setting: "--enable",
                value: first.to_string(),
                why: "the configuration file's authorization has another mode than any, which decides alone",
            }),
        }
    }

    /// The largest count that may be set.
    pub(super) fn max_replicas(&self) -> i32 {
        self.max_replicas.unwrap_or(MAX_REPLICAS)
    }

    /// Everything that is wrong with them together.
    pub(super) fn problems(&self, file: &Authorization) -> Vec<ConfigError> {
        let mut problems: Vec<_> = self.check().err().into_iter().collect();
        problems.extend(self.authorization(file.clone()).err());
        let missing = [
            ("--client-ca", self.client_ca.is_empty()),
            ("--tls-cert", self.tls_cert.is_none()),
            ("--tls-key", self.tls_key.is_none()),
        ];
        let missing = missing.into_iter().filter(|(_, missing)| *missing);
        problems.extend(missing.map(|(flag, _)| ConfigError::Missing(flag)));
        let bound = self.identity.iter().flat_map(|rules| &rules.authorities);
        let mut bundles = bound.map(|rule| &rule.client_ca);
        if let Some(unknown) = bundles.find(|bundle| !self.client_ca.contains(bundle))
            && !self.client_ca.is_empty()
        {
            problems.push(ConfigError::Invalid {
                setting: "identity.authorities.clientCa",
                value: unknown.display().to_string(),
                why: "it is none of the bundles of clientCa (--client-ca), written as it is there",
            });
        }
        problems
    }

    pub(super) fn validate(self, file: Authorization) -> Result<Config, ConfigError> {
        if let Some(first) = self.problems(&file).into_iter().next() {
            return Err(first);
        }
        let authorization = self.authorization(file)?;
        let max_replicas = self.max_replicas();
        let mut namespaces = self.namespace;
        namespaces.sort();
        namespaces.dedup();
        let logging = self.logging.unwrap_or_default();
        let defaults = Config::of(TlsFiles {
            cert: self.tls_cert.ok_or(ConfigError::Missing("--tls-cert"))?,
            key: self.tls_key.ok_or(ConfigError::Missing("--tls-key"))?,
            client_ca: self.client_ca,
            client_crl: self.client_crl,
            deny_list: self.deny_list,
        });
        let writes = defaults.writes;
        Ok(Config {
            kubeconfig: self.kubeconfig,
            context: self.context,
            listen: self.listen.map_or(defaults.listen, |a| a.0),
            admin_listen: self.admin_listen.map_or(defaults.admin_listen, |a| a.0),
            tls_settings: TlsSettings {
                checks: self.client_certificates.unwrap_or_default(),
                cipher_suites: either(self.tls_cipher_suite, CipherSuite::all()),
                groups: either(self.tls_group, Group::usual()),
            },
            managed: Managed {
                namespaces,
                label_selector: self.label_selector,
            },
            writes: WriteRules {
                read_only: self.read_only.unwrap_or(writes.read_only),
                max_replicas,
            },
            authorization,
            limits: self.limits.unwrap_or_default(),
            audit: self.audit.unwrap_or_default(),
            kubernetes_events: self.kubernetes_events.unwrap_or_default(),
            autoscalers: self.autoscalers.unwrap_or(defaults.autoscalers),
            leases: self.leases.unwrap_or_default(),
            drain_delay: self.drain_delay.map_or(defaults.drain_delay, |d| d.0),
            log: logging.settings(self.log_format, self.log_level),
            identity: self.identity.unwrap_or_default(),
            ..defaults
        })
    }
}

/// A list where it is given, another one elsewhere.
fn either<T>(list: Vec<T>, others: Vec<T>) -> Vec<T> {
    if list.is_empty() { others } else { list }
}

/// A list of names, or the one that it would hold. Read as text first, so that what is wrong with a name is said.
fn named<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let read = |name: String| {
        let parsed = name.parse();
        parsed.map_err(|error| D::Error::custom(format!("{name:?}: {error}")))
    };
    one_or_many(deserializer)?.into_iter().map(read).collect()
}

/// A list, or the one thing that it would hold.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) if many.is_empty() => {
            return Err(D::Error::custom(
                "the list is empty; leave it out to have the default",
            ));
        }
        OneOrMany::Many(many) => many,
    })
}
