//! Label and field selectors, as a list or watch names them.

use crate::object::Object;
use crate::status::Status;

/// Which objects a list or watch shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(Field, bool, String)>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Name,
    Namespace,
}

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`; empty ones match everything.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self, Status> {
        let labels = Parser {
            rest: labels.trim(),
        }
        .requirements()
        .map_err(|why| Status::bad_request(format!("unable to parse requirement: {why}")))?;
        let mut parsed = Vec::new();
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            let (field, equal, value) = if let Some((field, value)) = term.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) =
                term.split_once("==").or_else(|| term.split_once('='))
            {
                (field, true, value)
            } else {
                return Err(Status::bad_request(format!(
                    "invalid selector: '{fields}'; can't understand '{term}'"
                )));
            };
            let field = match field {
                "metadata.name" => Field::Name,
                "metadata.namespace" => Field::Namespace,
                other => {
                    return Err(Status::bad_request(format!(
                        "\"{other}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )));
                }
            };
            parsed.push((field, equal, value.to_owned()));
        }
        for requirement in &labels {
            check_key(&requirement.key)?;
        }
        Ok(Self {
            labels,
            fields: parsed,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether labels are as they are wanted, each found by its key.
    pub(crate) fn takes<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.labels.iter().all(|r| r.test.holds(label(&r.key)))
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        let names = (object.namespace(), object.name());
        self.selects(|key| object.labels.get(key), names)
    }

    /// Whether it selects what has these labels, each found by its key, and this namespace and name.
    pub(crate) fn selects<'a>(
        &self,
        label: impl Fn(&str) -> Option<&'a str>,
        (namespace, name): (&str, &str),
    ) -> bool {
        self.takes(label)
            && self.fields.iter().all(|(field, equal, value)| {
                let found = match field {
                    Field::Name => name,
                    Field::Namespace => namespace,
                };
                (found == value) == *equal
            })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Greater(bound) => value
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| v > *bound),
            Self::Less(bound) => value
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| v < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirements(mut self) -> Result<Vec<Requirement>, String> {
        let mut found = Vec::new();
        if self.rest.is_empty() {
            return Ok(found);
        }
        loop {
            found.push(self.requirement()?);
            if self.rest.is_empty() {
                return Ok(found);
            }
            self.expect(',')?;
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.take("!") {
            let key = self.word("identifier")?.to_owned();
            return Ok(Requirement {
                key,
                test: Test::Absent,
            });
        }
        let key = self.word("identifier")?.to_owned();
        let test = if self.take("!=") {
            Test::NotIn(vec![self.value().to_owned()])
        } else if self.take("==") || self.take("=") {
            Test::In(vec![self.value().to_owned()])
        } else if self.take(">") {
            Test::Greater(self.number()?)
        } else if self.take("<") {
            Test::Less(self.number()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else {
            match self.word("operator")? {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                other => {
                    return Err(format!(
                        "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                    ));
                }
            }
        };
        Ok(Requirement { key, test })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        self.expect('(')?;
        let mut values = Vec::new();
        loop {
            values.push(self.value().to_owned());
            if self.take(")") {
                return Ok(values);
            }
            self.expect(',')?;
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word("number")?;
        word.parse()
            .map_err(|_| format!("found '{word}', expected: a number"))
    }

    fn word(&mut self, what: &str) -> Result<&'a str, String> {
        let word = self.value();
        if word.is_empty() {
            Err(format!("found '{}', expected: {what}", self.rest))
        } else {
            Ok(word)
        }
    }

    /// A run of the characters of keys and values; may be empty.
    fn value(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else {
            return false;
        };
        self.rest = rest.trim_start();
        true
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.take(token.encode_utf8(&mut [0; 4])) {
            return Ok(());
        }
        Err(format!("found '{}', expected: '{token}'", self.rest))
    }
}

/// A label's key: a name of at most 63 characters, after an optional DNS subdomain and a slash.
fn check_key(key: &str) -> Result<(), Status> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let bounded = |text: &str| {
        let ends = [text.chars().next(), text.chars().next_back()];
        ends.iter()
            .all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
    };
    let name_fits = bounded(name) && name.len() <= 63 && !name.contains('/');
    let prefix_fits = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix.split('.').all(bounded)
            && !prefix.contains(|c: char| c.is_ascii_uppercase() || c == '_')
    });
    if name_fits && prefix_fits {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "unable to parse requirement: <nil>: Invalid value: \"{key}\": a valid label key must consist of alphanumeric \
         characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
         '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain \
         prefix and '/' (e.g. 'example.com/MyName')"
    )))
}

/// A value as a label may hold it: at most 63 characters.
pub(crate) fn label_text(text: &str) -> &str {
    text.get(..63).unwrap_or(text)
}
