//! Flags, environment and file → one validated, typed configuration.
//!
//! All three say the same things; flags win, then the environment, then the file, then the defaults.

mod address;
mod delay;
pub mod deprecated;
mod document;
mod environment;
mod in_force;
mod leases;
mod logging;
mod problems;
mod schema;
mod settings;
mod source;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

pub use address::{Address, NotAnAddress};
pub use delay::{Delay, NotADelay};
pub use deprecated::{Deprecated, Migrated, migrate};
pub use in_force::InForce;
pub use leases::LeaseSettings;
pub use problems::problems;
pub use schema::json_schema;
pub use settings::Settings;
pub use source::Source;

use crate::{
    access::{Authorization, Bounds, IdentityRules, WriteRules},
    audit::AuditSettings,
    kubernetes::Managed,
    limits::Limits,
    telemetry::log::LogSettings,
    tls::{TlsFiles, TlsSettings},
};

/// The version of the configuration file's form.
pub const API_VERSION: &str = "headcount/v1alpha1";
/// The kind of the configuration file.
pub const KIND: &str = "Configuration";

/// Everything that `headcount serve` needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The kubeconfig; without it the usual one, then the Pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; without it the current one.
    pub context: Option<String>,
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Where a kubelet and a Prometheus connect, without TLS.
    pub admin_listen: SocketAddr,
    /// Certificate, key, client CAs, and what takes clients' rights away.
    pub tls: TlsFiles,
    /// What clients are judged by besides, and what handshakes are made with.
    pub tls_settings: TlsSettings,
    /// What is managed.
    pub managed: Managed,
    /// What may be written.
    pub writes: WriteRules,
    /// Who may do what.
    pub authorization: Authorization,
    /// How much of everything a peer may have.
    pub limits: Limits,
    /// Where who did what is recorded.
    pub audit: AuditSettings,
    /// Whether a Deployment's events tell of writes to it.
    pub kubernetes_events: bool,
    /// Whether HorizontalPodAutoscalers are followed, to tell who else sets a count.
    pub autoscalers: bool,
    /// Whether counts can be leased, and where that is kept.
    pub leases: LeaseSettings,
    /// How long a shutdown goes on serving after it has ended readiness.
    pub drain_delay: Duration,
    /// What is logged, how, and where to.
    pub log: LogSettings,
    /// Whom a client's certificate names.
    pub identity: IdentityRules,
    /// Old keys that its file has.
    pub deprecated: Vec<Deprecated>,
    /// What it was made of, for reading it again.
    pub source: Source,
}

/// A configuration that nothing can be started with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("failed to read the configuration file {0:?}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file has an unknown key, a value of the wrong type, or isn't YAML.
    #[error("failed to understand the configuration file {path:?}{}: {why}", place(.line))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u64>,
        /// What is wrong.
        why: String,
    },
    /// An environment variable is unknown or has a wrong value.
    #[error("failed to understand the environment variable {name}: {why}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A setting that is needed wasn't given.
    #[error(
        "{0} is missing: give it as a flag, as an environment variable or in the configuration file"
    )]
    Missing(&'static str),
    /// A setting has a value that can't be.
    #[error("{setting} {value:?} can't be: {why}")]
    Invalid {
        /// The flag.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        why: &'static str,
    },
}

fn place(line: &Option<u64>) -> String {
    line.map(|l| format!(" at line {l}")).unwrap_or_default()
}

/// What `headcount serve` is told on the command line.
#[derive(Debug, Default, Clone, Args)]
pub struct ServeArgs {
    /// Read settings from this YAML file too; flags and environment win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Config {
    /// The defaults, with these certificates.
    pub fn of(tls: TlsFiles) -> Self {
        Self {
            kubeconfig: None,
            context: None,
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            tls,
            tls_settings: TlsSettings::default(),
            managed: Managed::default(),
            writes: WriteRules::default(),
            drain_delay: Duration::from_secs(3),
            log: LogSettings::default(),
            identity: IdentityRules::default(),
            authorization: Authorization::default(),
            limits: Limits::default(),
            audit: AuditSettings::default(),
            kubernetes_events: false,
            autoscalers: true,
            leases: LeaseSettings::default(),
            deprecated: Vec::new(),
            source: Source::default(),
        }
    }

    /// The configuration that flags, environment variables and the file named by either make together.
    ///
    /// # Errors
    ///
    /// Names the setting that is unknown, missing or wrong, and where it stands.
    pub fn load(
        flags: ServeArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let environment = environment::read(environment)?;
        let source = Source {
            file: flags.config.or(environment.config),
            settings: Some(flags.settings.or(environment.settings)),
        };
        source.config(source.text()?.as_deref())
    }

    /// The configuration of the same flags and environment with another text of the file.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn with_text(&self, text: Option<&str>) -> Result<Self, ConfigError> {
        match self.source.settings {
            Some(_) => self.source.config(text),
            None => Ok(self.clone()),
        }
    }

    /// All files that it names and that are read again when they change, its own included.
    pub fn files(&self) -> Vec<&Path> {
        self.tls
            .paths()
            .chain(self.source.file.as_deref())
            .collect()
    }

    /// The settings that are others in `next` and that only a start puts in force.
    pub fn waits_for_restart(&self, next: &Self) -> Vec<&'static str> {
        let pairs = [
            ("kubeconfig", self.kubeconfig != next.kubeconfig),
            ("context", self.context != next.context),
            ("listen", self.listen != next.listen),
            ("adminListen", self.admin_listen != next.admin_listen),
            ("namespace, labelSelector", self.managed != next.managed),
            ("drainDelay", self.drain_delay != next.drain_delay),
            ("audit", self.audit != next.audit),
            ("leases", self.leases != next.leases),
            ("autoscalers", self.autoscalers != next.autoscalers),
            (
                "kubernetesEvents",
                self.kubernetes_events != next.kubernetes_events,
            ),
            ("logging.format", self.log.format != next.log.format),
            ("logging.stderr", self.log.stderr != next.log.stderr),
            ("logging.file", self.log.file != next.log.file),
        ];
        let changed = pairs.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(setting, _)| setting).collect()
    }

    /// What a configuration file says of access; it may name no certificates.
    ///
    /// # Errors
    ///
    /// As [`Config::load`], for what the file gives.
    pub fn access(file: &Path) -> Result<AccessSettings, ConfigError> {
        let FromFile {
            settings,
            authorization,
            ..
        } = from_file(file, &read_file(file)?)?;
        Ok(AccessSettings {
            authorization,
            server: Bounds::up_to(settings.max_replicas()),
            identity: settings.identity.unwrap_or_default(),
        })
    }
}

/// What decides who may do what.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Who may do what.
    pub authorization: Authorization,
    /// Which counts may be set at all.
    pub server: Bounds,
    /// Whom a certificate names.
    pub identity: IdentityRules,
}

/// clap's error as one sentence: what is wrong and what was probably meant, without how it is used.
pub(crate) fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let parts = text
        .split("\n\n")
        .filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"));
    let words = parts.map(|part| {
        let part = part.trim_start();
        let part = part.strip_prefix("error: ").unwrap_or(part);
        let part = part.strip_prefix("tip: ").unwrap_or(part);
        part.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    plain(&words.collect::<Vec<_>>().join("; "))
}

/// A text as a terminal can show it: what isn't printed is escaped.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|e| ConfigError::Read(path.to_owned(), e))
}

/// A file with its old keys at their new places. Nothing is written.
///
/// # Errors
///
/// As [`Config::load`], for what the file gives: what can't be read isn't rewritten.
pub fn migrate_file(path: &Path) -> Result<Migrated, ConfigError> {
    let text = read_file(path)?;
    from_file(path, &text)?;
    migrate(&text).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        line: Some(error.line),
        why: error.why,
    })
}

/// What a configuration file says.
#[derive(Default)]
struct FromFile {
    settings: Settings,
    authorization: Authorization,
    deprecated: Vec<Deprecated>,
}

fn from_file(path: &Path, text: &str) -> Result<FromFile, ConfigError> {
    let in_file = |line, why| ConfigError::File {
        path: path.to_owned(),
        line,
        why,
    };
    let migrated = migrate(text).map_err(|error| in_file(Some(error.line), error.why))?;
    let wrong = |line: Option<u64>, why| in_file(line.map(|line| migrated.old_line(line)), why);
    let text = migrated.text.as_str();
    let mut settings: Settings = serde_saphyr::from_str(text).map_err(|e| {
        let (line, why) = crate::yaml::fault(&e, text);
        wrong(line, why)
    })?;
    let expected = |key: &str, found: &Option<String>, value: &str| match found {
        Some(found) if found == value => Ok(()),
        Some(found) => Err(wrong(
            line_of(text, key),
            format!("{key} is {found:?}, and this version reads {value:?}"),
        )),
        None => Err(wrong(
            None,
            format!("it has no {key}; it must be {value:?}"),
        )),
    };
    expected("apiVersion", &settings.api_version, API_VERSION)?;
    expected("kind", &settings.kind, KIND)?;
    let authorization = match settings.authorization.take() {
        Some(file) => file
            .read()
            .map_err(|error| wrong(error.line, format!("authorization: {error}")))?,
        None => Authorization::default(),
    };
    match settings.check() {
        Err(ConfigError::Invalid {
            setting,
            value,
            why,
        }) => {
            let key = key_of(setting);
            let line = line_of(text, &key);
            Err(wrong(line, format!("{key} {value:?} can't be: {why}")))
        }
        other => other.map(|()| FromFile {
            settings,
            authorization,
            deprecated: migrated.moved.clone(),
        }),
    }
}

/// The file's name of a flag: `maxReplicas` of `--max-replicas`.
fn key_of(flag: &str) -> String {
    let mut key = String::new();
    for word in flag.trim_start_matches('-').split('-') {
        let (first, rest) = word.split_at(1.min(word.len()));
        if key.is_empty() {
            key.push_str(first);
        } else {
            key.push_str(&first.to_ascii_uppercase());
        }
        key.push_str(rest);
    }
    key
}

fn line_of(text: &str, key: &str) -> Option<u64> {
    (1..)
        .zip(text.lines())
        .find(|(_, line)| line.starts_with(key))
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests;
