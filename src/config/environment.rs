//! Environment variables → settings, each read as the flag that it stands for.

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, SocketAddr},
};

use clap::Parser;

use super::{ConfigError, ServeArgs, plain, sentence};

/// Every environment variable of this program starts like this.
const PREFIX: &str = "HEADCOUNT_";
/// The commands that ask a server have their contexts there, whatever else runs in the same shell.
const OF_THE_CLIENT: &str = "HEADCOUNT_CONTEXTS";

/// One environment variable, read as the flag that it stands for.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct AsFlag {
    #[command(flatten)]
    args: ServeArgs,
}

/// The settings that these variables give.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ServeArgs, ConfigError> {
    let (all, wrong) = read_all(variables);
    match wrong.into_iter().next() {
        Some(first) => Err(first),
        None => Ok(all),
    }
}

/// The settings that these variables give, and what is wrong with the others.
pub(super) fn read_all(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> (ServeArgs, Vec<ConfigError>) {
    let (mut all, mut wrong) = (ServeArgs::default(), Vec::new());
    for (name, value) in variables {
        match read_one(&name, &value) {
            Ok(None) => {}
            Ok(Some(args)) => {
                all = ServeArgs {
                    config: all.config.or(args.config),
                    settings: all.settings.or(args.settings),
                };
            }
            Err(error) => wrong.push(error),
        }
    }
    (all, wrong)
}

/// What one variable gives, if it is one of ours.
fn read_one(name: &OsStr, value: &OsStr) -> Result<Option<ServeArgs>, ConfigError> {
    let Some(name) = name
        .to_str()
        .filter(|n| n.starts_with(PREFIX) && *n != OF_THE_CLIENT && !is_service_link(n, value))
    else {
        return Ok(None);
    };
    // Set and empty means not set, as it does in shells and in manifests.
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| ConfigError::Environment {
        name: plain(name),
        why,
    };
    let value = value
        .to_str()
        .ok_or_else(|| wrong("it isn't UTF-8".into()))?;
    let flag = name[PREFIX.len()..].to_ascii_lowercase().replace('_', "-");
    let values: Vec<&str> = match flag.as_str() {
        "client-ca" | "client-crl" | "namespace" | "enable" | "tls-cipher-suite" | "tls-group" => {
            value
                .split(',')
                .map(str::trim)
                .filter(|v| !v.is_empty())
                .collect()
        }
        _ => vec![value],
    };
    if values.is_empty() {
        return Err(wrong(format!(
            "{value:?} names nothing; unset it to leave it out"
        )));
    }
    let read = AsFlag::try_parse_from(values.iter().map(|value| format!("--{flag}={value}")));
    let args = read.map_err(|e| {
        wrong(match e.kind() {
            clap::error::ErrorKind::UnknownArgument => {
                "there is no such setting; `headcount serve --help` lists them".into()
            }
            _ => sentence(&e),
        })
    })?;
    Ok(Some(args.args))
}

/// What Kubernetes puts into the environment of Pods beside a Service whose name starts with `headcount`:
/// `HEADCOUNT_PORT=tcp://…`, `HEADCOUNT_SERVICE_HOST=…`, `HEADCOUNT_METRICS_PORT_80_TCP_ADDR=…`.
/// A name of that form with another value is a misspelt setting.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let Some(value) = value.to_str() else {
        return false;
    };
    let number = |text: &str| text.parse::<u16>().is_ok();
    let ip = |text: &str| text.parse::<IpAddr>().is_ok();
    let protocol = |text: &str| ["tcp", "udp", "sctp"].contains(&text);
    let url = |text: &str| {
        text.split_once("://").is_some_and(|(scheme, address)| {
            protocol(scheme) && address.parse::<SocketAddr>().is_ok()
        })
    };
    // What is behind `NAME_PORT_`: `80_TCP`, `80_TCP_ADDR`.
    let of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let (port, scheme) = (parts.next(), parts.next());
        let fits = match (parts.next(), parts.next()) {
            (None, _) => url(value),
            (Some("PROTO"), None) => protocol(value),
            (Some("PORT"), None) => number(value),
            (Some("ADDR"), None) => ip(value),
            _ => false,
        };
        fits && port.is_some_and(number)
            && scheme.is_some_and(|s| protocol(&s.to_ascii_lowercase()))
    };
    (name.ends_with("_SERVICE_HOST") && ip(value))
        || ((name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_")) && number(value))
        || (name.ends_with("_PORT") && url(value))
        || name
            .rsplit_once("_PORT_")
            .is_some_and(|(_, rest)| of_port(rest))
}
