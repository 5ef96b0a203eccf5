//! Any text as the configuration file, and any words as environment variables (each `NAME=value` up to a NUL byte, before the text).

use std::{ffi::OsString, fs, sync::LazyLock};

use headcount::config::{Config, ConfigError, ServeArgs};

/// A configuration that names a file, whose text is then another one.
static FINE: LazyLock<Config> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("headcount.yaml");
    fs::write(
        &path,
        "apiVersion: headcount/v1alpha1\nkind: Configuration\n",
    )
    .expect("written");
    let variables = [
        ("HEADCOUNT_CONFIG", path.as_os_str()),
        ("HEADCOUNT_TLS_CERT", "tls.crt".as_ref()),
        ("HEADCOUNT_TLS_KEY", "tls.key".as_ref()),
        ("HEADCOUNT_CLIENT_CA", "ca.crt".as_ref()),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.to_owned()));
    Config::load(ServeArgs::default(), variables).expect("it is one")
});

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let (variables, file) = text.rsplit_once('\0').unwrap_or(("", text));
    let fine = &*FINE;
    let read = told(fine.with_text(Some(file)));
    assert_eq!(read, told(fine.with_text(Some(file))), "read twice");
    // What isn't there is neither read nor an error.
    if let Ok(config) = fine.with_text(Some(file)) {
        assert!(config.writes.max_replicas >= 0);
        assert_eq!(
            fine.waits_for_restart(&config),
            fine.waits_for_restart(&config.clone())
        );
        assert!(config.waits_for_restart(&config).is_empty());
    }
    let variables = variables
        .split('\0')
        .filter_map(|pair| pair.split_once('='));
    // No other files are looked at.
    let variables = variables.filter(|(name, _)| *name != "HEADCOUNT_CONFIG");
    let variables: Vec<(OsString, OsString)> = variables
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let load = || told(Config::load(ServeArgs::default(), variables.clone()));
    assert_eq!(load(), load(), "read twice");
}

/// What came of it, in words; an error is one line that a person can read.
fn told(read: Result<Config, ConfigError>) -> Result<String, String> {
    match read {
        Ok(config) => Ok(format!("{config:?}")),
        Err(error) => {
            let words = error.to_string();
            assert!(!words.contains('\n'), "{words}");
            assert!(!words.chars().any(char::is_control), "{words:?}");
            Err(words)
        }
    }
}
