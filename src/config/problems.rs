//! Everything that is wrong with a configuration, and not just the first of it: `headcount config check`.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use super::{
    Config, ConfigError, FromFile, ServeArgs, Source,
    document::{Kind, Node},
    environment, from_file,
};

/// So many problems of one file are enough for once.
const MOST: usize = 50;

/// The sections whose every key has a default, so that one can be wrong by itself.
const OF_LEAVES: [&str; 2] = ["limits", "clientCertificates"];

/// What these flags, variables and the file that they name make together, or everything that is wrong with them.
///
/// # Errors
///
/// One for each variable, each setting of the file, each of its rules and limits, and each setting that is missing.
pub fn problems(
    flags: ServeArgs,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Vec<ConfigError>> {
    let (environment, mut found) = environment::read_all(variables);
    let source = Source {
        file: flags.config.or(environment.config),
        settings: Some(flags.settings.or(environment.settings)),
    };
    let text = source.text().map_err(|error| vec![error])?;
    let (file, of_file) = match (source.path(), &text) {
        (Some(path), Some(text)) => of_file(path, text),
        _ => (FromFile::default(), Vec::new()),
    };
    let unread = !of_file.is_empty() || !found.is_empty();
    found.extend(of_file);
    let settings = source.settings.clone().unwrap_or_default();
    let together = settings.or(file.settings).problems(&file.authorization);
    // What is missing may be what couldn't be read.
    let counts = |error: &ConfigError| !unread || !matches!(error, ConfigError::Missing(_));
    found.extend(together.into_iter().filter(counts));
    if found.is_empty() {
        return source.config(text.as_deref()).map_err(|error| vec![error]);
    }
    Err(found)
}

/// What can be read of a file, and what is wrong with the rest: what is wrong is left out and the file read again.
fn of_file(path: &Path, text: &str) -> (FromFile, Vec<ConfigError>) {
    let mut found: Vec<ConfigError> = Vec::new();
    let mut said = BTreeSet::new();
    let mut text = text.to_owned();
    loop {
        let error = match from_file(path, &text) {
            Ok(file) => return (file, by_line(found)),
            Err(error) => error,
        };
        let line = match &error {
            ConfigError::File { line, .. } => *line,
            _ => None,
        };
        let is_news = said.insert(error.to_string());
        if is_news {
            found.push(error);
        }
        // What was left out before wasn't it: then all of its setting is.
        let without = line.and_then(|line| without(&text, usize::try_from(line).ok()?, is_news));
        match without {
            Some(rest) if found.len() < MOST && rest != text => text = rest,
            _ => return (FromFile::default(), by_line(found)),
        }
    }
}

fn by_line(mut found: Vec<ConfigError>) -> Vec<ConfigError> {
    found.sort_by_key(|error| match error {
        ConfigError::File { line, .. } => *line,
        _ => None,
    });
    found
}

/// The text without what stands on a line, from 1: a limit, a rule, or else the whole setting. All other lines stay where they are.
fn without(text: &str, line: usize, small: bool) -> Option<String> {
    let root = Node::read(text)?;
    let on_line = |(key, value): &&(Node, Node)| (key.line..=value.last_line).contains(&line);
    let mut parents = vec![&root];
    let (mut at, mut entry) = find(&root, on_line)?;
    if small {
        let Kind::Scalar(name) = &entry.0.kind else {
            return None;
        };
        if OF_LEAVES.contains(&name.as_str()) {
            while let Some((deeper, within)) = find(&entry.1, on_line) {
                parents.push(&entry.1);
                (at, entry) = (deeper, within);
            }
        } else if name == "authorization"
            && let Some((_, rules)) = entry.1.entry("rules")
            && let Kind::List(rules) = &rules.kind
            && rules.len() > 1
            && let Some(rule) = rules
                .iter()
                .find(|rule| (rule.line..=rule.last_line).contains(&line))
        {
            return blanked_lines(text, &root, rule);
        }
    }
    // Whoever would be left with nothing is left out with it.
    while parents.len() > 1
        && parents
            .last()
            .is_some_and(|parent| parent.entries().len() == 1)
    {
        let only = parents.pop()?;
        let above = parents.last()?;
        at = above
            .entries()
            .iter()
            .position(|(_, value)| std::ptr::eq(value, only))?;
    }
    let parent = parents.last()?;
    let (key, value) = &parent.entries()[at];
    match parent.kind {
        Kind::Map { flow: true, .. } => {
            let (start, end) = match (at.checked_sub(1), parent.entries().get(at + 1)) {
                (_, Some((next, _))) => (key.bytes.start, next.bytes.start),
                (Some(before), None) => (parent.entries()[before].1.bytes.end, value.bytes.end),
                (None, None) => (key.bytes.start, value.bytes.end),
            };
            Some(format!(
                "{}{}{}",
                &text[..start],
                newlines(&text[start..end]),
                &text[end..]
            ))
        }
        _ => Some(blank(text, key.line, value.last_line)),
    }
}

fn find<'a>(
    parent: &'a Node,
    is: impl Fn(&&'a (Node, Node)) -> bool,
) -> Option<(usize, &'a (Node, Node))> {
    let at = parent.entries().iter().position(|entry| is(&entry))?;
    Some((at, &parent.entries()[at]))
}

/// Without a rule, where it has its lines for itself; else without all of them.
fn blanked_lines(text: &str, root: &Node, rule: &Node) -> Option<String> {
    let line = text.lines().nth(rule.line - 1)?;
    if line.trim_start().starts_with("- ") {
        return Some(blank(text, rule.line, rule.last_line));
    }
    let (key, value) = root.entry("authorization")?;
    Some(blank(text, key.line, value.last_line))
}

fn blank(text: &str, first: usize, last: usize) -> String {
    let lines = (1..).zip(text.split_inclusive('\n'));
    let kept = lines.map(|(number, line)| match (first..=last).contains(&number) {
        true => newlines(line),
        false => line.to_owned(),
    });
    kept.collect()
}

/// The ends of its lines alone.
fn newlines(text: &str) -> String {
    text.matches('\n').collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn said(text: &str, flags: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let config = format!("--config={path}");
        let all = ["serve", &config].into_iter().chain(flags.iter().copied());
        let args = Cli::try_parse_from(all).unwrap().args;
        let variables = variables.iter().map(|(n, v)| (n.into(), v.into()));
        let found = problems(args, variables).err().unwrap_or_default();
        let short = |error: ConfigError| {
            error.to_string().replace(
                &format!("failed to understand the configuration file {path:?} "),
                "",
            )
        };
        found.into_iter().map(short).collect()
    }

    const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
    const NEEDED: [&str; 3] = ["--tls-cert=c", "--tls-key=k", "--client-ca=a"];

    #[test]
    fn a_whole_configuration_has_none() {
        assert_eq!(said(HEAD, &NEEDED, &[]), [""; 0]);
        let full = format!("{HEAD}logFormat: json\nlimits: {{times: {{idle: 5s}}}}\n");
        assert_eq!(said(&full, &NEEDED, &[]), [""; 0]);
    }

    #[test]
    fn every_wrong_setting_limit_rule_and_variable_is_told_with_its_line() {
        let text = format!(
            "{HEAD}maxReplica: 5\nlisten: nowhere\nlimits:\n  times:\n    idle: 0s\n    body: soon\n  sizes: {{uri: 1x, body: 64Ki}}\n\
             authorization:\n  mode: policy\n  rules:\n    - {{name: a, subjects: [], verbs: [get]}}\n    - name: b\n      subjects: [x]\n      verbs: [go]\n    \
             - {{name: c, subjects: [x], verbs: [get]}}\nlogLevel: loud\nreadOnly: true\nnamespace: [A_b]\n"
        );
        let all = said(
            &text,
            &NEEDED,
            &[("HEADCOUNT_X", "1"), ("HEADCOUNT_MAX_REPLICAS", "-1")],
        );
        for (part, line) in [
            ("HEADCOUNT_X", None),
            ("HEADCOUNT_MAX_REPLICAS", None),
            ("maxReplica", Some(3)),
            ("listen", Some(4)),
            ("idle", Some(7)),
            ("body", Some(8)),
            ("1x", Some(9)),
            ("rule \"a\"", Some(13)),
            ("rule \"b\"", Some(16)),
            ("loud", Some(18)),
            ("A_b", Some(20)),
        ] {
            let at = line
                .map(|line| format!("at line {line}: "))
                .unwrap_or_default();
            let of: Vec<_> = all
                .iter()
                .filter(|e| e.contains(part) && e.starts_with(&at))
                .collect();
            assert_eq!(of.len(), 1, "{part}: {all:#?}");
        }
        assert_eq!(all.len(), 11, "{all:#?}");
    }

    #[test]
    fn what_is_missing_is_told_at_once_but_not_where_it_may_have_been_wrong() {
        let all = said(HEAD, &[], &[]);
        assert_eq!(all.len(), 3, "{all:#?}");
        let all = said(&format!("{HEAD}tlsCert: [x]\n"), &[], &[]);
        assert_eq!(all.len(), 1, "{all:#?}");
        let all = said("kind: Configuration\n", &NEEDED, &[]);
        assert_eq!(all.len(), 1, "{all:#?}");
        let all = said("a: [", &NEEDED, &[]);
        assert_eq!(all.len(), 1, "{all:#?}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_wrong_with_a_file_is_found_and_the_search_ends(
            at in proptest::prelude::any::<proptest::sample::Index>(),
            length in 0..40usize,
            more in "[\\PC\\n]{0,12}",
        ) {
            let whole = format!("{HEAD}limits:\n  times: {{idle: 5s, body: 4s}}\n  sizes:\n    uri: 1Ki\nauthorization:\n  mode: policy\n  rules:\n    \
                - {{name: a, subjects: [b], verbs: [get]}}\n    - name: b\n      subjects: [x]\n      verbs: [get]\nlogging:\n  level: info\nlogFormat: json\n");
            let at = at.index(whole.len());
            let end = whole.len().min(at + length);
            let damaged = format!("{}{more}{}", &whole[..at], &whole[end..]);
            let first = from_file(Path::new("f"), &damaged).err();
            let (_, all) = of_file(Path::new("f"), &damaged);
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            proptest::prop_assert_eq!(first.is_some(), !all.is_empty());
            proptest::prop_assert!(first.is_none_or(|first| all.contains(&first.to_string())));
        }
    }
}
