//! The counts that a batch is to set: `NAME=COUNT` of the command line, and files of them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Failed,
    arguments::{Named, NamespaceArgs, Target, named},
};

/// How a count in a file is written.
const LINE: &str = "a line is [NAMESPACE/]NAME COUNT, as in web/shop 10";

/// A Deployment as it was named, and its count.
#[derive(Debug)]
pub(super) struct Count {
    named: Named,
    count: i32,
}

impl Count {
    /// As the API takes it.
    pub(super) fn item(&self, place: &NamespaceArgs, target: &Target) -> Result<Value, Failed> {
        let deployment = self.named.in_namespace(place, target)?;
        Ok(json!({
            "namespace": deployment.namespace, "name": deployment.name, "replicaCount": self.count,
        }))
    }
}

/// A count, 0 or more; a sign is that of a step.
pub(super) fn count(text: &str) -> Result<i32, String> {
    let signed = text.starts_with(['+', '-']);
    let count = text.parse().ok().filter(|count| *count >= 0 && !signed);
    count.ok_or_else(|| {
        let step = match signed {
            true => "; `headcount step` takes so many more or fewer, like +2 or -1",
            false => "",
        };
        format!(
            "{text:?} isn't a count: give a whole number from 0 to {}{step}",
            i32::MAX
        )
    })
}

/// Reads `[NAMESPACE/]NAME=COUNT`.
pub(super) fn name_and_count(text: &str) -> Result<Count, String> {
    let (name, number) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} isn't NAME=COUNT, as in shop=10"))?;
    Ok(Count {
        named: named(name).map_err(|why| format!("in {text:?}: {why}"))?,
        count: count(number).map_err(|why| format!("in {text:?}: {why}"))?,
    })
}

/// One count of a file of JSON or YAML.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    namespace: Option<String>,
    name: String,
    replica_count: i32,
}

/// Reads a file: JSON or YAML, a list or `items` with one, or lines of names and counts. The error says where.
pub(super) fn of_file(text: &str) -> Result<Vec<Count>, String> {
    let meaning = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        line.replace('=', " ").trim().to_owned()
    };
    let lines = text.lines().map(meaning).enumerate();
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && line != "---");
    let Some((_, first)) = lines.clone().next() else {
        return Err(format!("there is nothing in it; {LINE}"));
    };
    // No name has any of these.
    if first.starts_with(['{', '[', '-']) || first.contains(':') {
        return structured(text);
    }
    lines.try_fold(Vec::new(), |mut all, (at, line)| {
        let words: Vec<_> = line.split_whitespace().collect();
        let read = match words[..] {
            [name, number] => name_and_count(&format!("{name}={number}")),
            _ => Err(format!("{line:?} isn't a name and a count")),
        };
        all.push(read.map_err(|why| format!("line {}: {why}; {LINE}", at + 1))?);
        Ok(all)
    })
}

fn structured(text: &str) -> Result<Vec<Count>, String> {
    let fault = |error: &serde_saphyr::Error| {
        let (line, why) = crate::yaml::fault(error, text);
        match line {
            Some(line) => format!("line {line}: {why}"),
            None => why,
        }
    };
    let whole: Value = serde_saphyr::from_str(text).map_err(|error| fault(&error))?;
    let items = match whole {
        Value::Object(mut whole) => match whole.remove("items") {
            Some(items) if items[0]["mark"].is_null() => items,
            Some(_) => {
                return Err("it is a snapshot: bring it back with `headcount restore`".into());
            }
            None => return Err("it has no items".into()),
        },
        list => list,
    };
    let Value::Array(items) = items else {
        return Err("it is no list of Deployments".into());
    };
    let read = items.into_iter().enumerate().map(|(at, item)| {
        let wrong = |why: String| {
            format!("item {}: {why}; each has a name, a replicaCount and, unless it is the usual one, a namespace", at + 1)
        };
        let Written {
            namespace,
            name,
            replica_count,
        } = serde_json::from_value(item).map_err(|error| wrong(error.to_string()))?;
        let whole = match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        };
        Ok(Count {
            named: named(&whole).map_err(|why| wrong(format!("{whole:?}: {why}")))?,
            count: count(&replica_count.to_string()).map_err(wrong)?,
        })
    });
    let read: Vec<_> = read.collect::<Result<_, String>>()?;
    if read.is_empty() {
        return Err("it has no Deployments".into());
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(read: &Result<Vec<Count>, String>) -> Result<Vec<String>, String> {
        let all = read.as_ref().map_err(Clone::clone)?;
        Ok(all
            .iter()
            .map(|c| format!("{:?} {}", c.named, c.count))
            .collect())
    }

    #[test]
    fn the_same_counts_are_read_of_lines_and_of_json_and_of_yaml() {
        let lines = said(&of_file(
            "# the fair\nweb/shop 10\n\n  mailer\t3 # jobs\nweb/cart=0\n",
        ));
        assert_eq!(lines.as_ref().map(Vec::len), Ok(3), "{lines:?}");
        let yaml = "---\n# the fair\nitems:\n- {namespace: web, name: shop, replicaCount: 10}\n- name: mailer\n  replicaCount: 3\n- {namespace: web, name: cart, replicaCount: 0}\n";
        assert_eq!(said(&of_file(yaml)), lines);
        let json = r#" [{"namespace":"web","name":"shop","replicaCount":10},{"name":"mailer","replicaCount":3},
            {"namespace":"web","name":"cart","replicaCount":0}]"#;
        assert_eq!(said(&of_file(json)), lines);
    }

    #[test]
    fn what_is_no_list_of_counts_is_told_with_its_place() {
        for (text, part) in [
            ("", "nothing in it"),
            ("# nothing\n\n", "nothing in it"),
            (
                "web/shop 3\nweb/cart\n",
                "line 2: \"web/cart\" isn't a name and a count",
            ),
            (
                "web/shop -3\n",
                "line 1: in \"web/shop=-3\": \"-3\" isn't a count",
            ),
            ("web/shop +3\n", "`headcount step` takes so many more"),
            ("web/shop 3 4\n", "line 1"),
            ("NAMESPACE NAME\n", "line 1: in \"NAMESPACE=NAME\""),
            ("items: 3\n", "no list"),
            ("items: []\n", "no Deployments"),
            ("counts: []\n", "no items"),
            ("- {name: a}\n", "item 1: missing field `replicaCount`"),
            ("- {name: a, replicaCount: 2147483648}\n", "item 1"),
            (
                "- {name: a, replicaCount: 3, replicas: 3}\n",
                "item 1: unknown field `replicas`",
            ),
            ("- {name: A, replicaCount: 3}\n", "item 1: \"A\""),
            (
                "- {name: a, replicaCount: -1}\n",
                "item 1: \"-1\" isn't a count",
            ),
            (
                "{\"items\":[{\"name\":\"a\",\"mark\":\"0\"}]}",
                "headcount restore",
            ),
            ("- {name: a\n", "line"),
        ] {
            let why = of_file(text).unwrap_err();
            assert!(why.contains(part), "{text:?}: {why}");
        }
    }
}
