//! The syntax of label selectors, so that a misspelt one is told at the start and not by the API server later.

/// Whether Kubernetes would accept it (`k8s.io/apimachinery/pkg/labels`): `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
pub fn is_label_selector(text: &str) -> bool {
    requirements(text).is_some_and(|all| all.iter().all(|r| is_requirement(r.trim())))
}

/// The text split at the commas that are outside parentheses; `None` if those don't match.
fn requirements(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if inside => return None,
            ')' if !inside => return None,
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!inside).then_some(parts)
}

fn is_requirement(text: &str) -> bool {
    if let Some(key) = text.strip_prefix('!') {
        return is_key(key.trim());
    }
    if let Some((left, list)) = text.split_once('(') {
        let Some(list) = list.strip_suffix(')') else {
            return false;
        };
        let mut words = left.split_whitespace();
        return matches!(
            (words.next(), words.next(), words.next()),
            (Some(key), Some("in" | "notin"), None) if is_key(key)
        ) && list.split(',').all(|value| is_value(value.trim()));
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = text.split_once(operator) {
            return is_key(key.trim()) && is_value(value.trim());
        }
    }
    match text.split_once(['<', '>']) {
        Some((key, number)) => is_key(key.trim()) && number.trim().parse::<i64>().is_ok(),
        None => is_key(text),
    }
}

fn is_key(text: &str) -> bool {
    let (prefix, name) = text
        .split_once('/')
        .map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(crate::name::is_deployment) && !name.is_empty() && is_value(name)
}

fn is_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_judged_as_kubernetes_judges_them() {
        for good in [
            "a",
            "!a",
            "! a",
            "a=b",
            "a = b",
            "a==b",
            "a!=b",
            "a=",
            "a in (b)",
            "a in (b, c),d notin (e)",
            "example.com/team=web,tier",
            "a in (,b)",
            "size>3",
        ] {
            assert!(is_label_selector(good), "{good}");
        }
        for bad in [
            "",
            "a in (",
            "a in b",
            "=",
            "=b",
            "a==b==c",
            "a notin b",
            "a,",
            "a b",
            "a=(b)",
            "-a",
            "a=b_",
            "a/b/c",
            "/a",
            "A.b/",
            "size>x",
            "a within (b)",
            "a in (b))",
            "ä=b",
        ] {
            assert!(!is_label_selector(bad), "{bad}");
        }
    }
}
