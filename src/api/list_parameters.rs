//! What a list is asked for by its query: `labelSelector`, `limit`, `continue`, `status`.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{ApiError, path::shown};
use crate::{
    kubernetes::MOST_OF_ONE,
    selector::{LabelSelector, SPACE},
    store::Shown,
};

/// The most Deployments of one page.
const MOST_LIMIT: usize = 10_000;
/// The longest selector, in bytes.
const LONGEST_SELECTOR: usize = 1024;

const NAMES: [&str; 5] = ["labelSelector", "limit", "continue", "watch", "status"];

/// The parameters of one list.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) selector: Option<LabelSelector>,
    /// The most Deployments of this page.
    pub(super) limit: Option<usize>,
    /// Where the page before ended.
    pub(super) resume: Option<String>,
    /// What is shown of each Deployment.
    pub(super) shown: Shown,
}

/// A query parameter that a call doesn't know, and what it takes.
pub(super) fn no_such_parameter(name: &str, takes: &str) -> ApiError {
    ApiError::BadRequest(format!(
        "there is no query parameter {}; {takes}",
        shown(name)
    ))
}

/// The parameters of a query, decoded as those of a form are.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(move |pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
}

impl Parameters {
    /// Whether a query has one of them, however it is spelt: others mean nothing to a list.
    pub(super) fn are_in(query: &str) -> bool {
        let known = |name: &str| NAMES.iter().any(|n| n.eq_ignore_ascii_case(name));
        pairs(query).any(|(name, _)| known(&name) || name.eq_ignore_ascii_case("fieldSelector"))
    }

    pub(super) fn read(query: Option<&str>) -> Result<Self, ApiError> {
        let bad = |why: String| Err(ApiError::BadRequest(why));
        let mut read = Self::default();
        let mut given = Vec::new();
        for (name, value) in pairs(query.unwrap_or_default()) {
            match &*name {
                _ if given.contains(&name) => return bad(format!("{name} is given once")),
                // As in Kubernetes, nothing to select by selects everything.
                "labelSelector" if value.trim_matches(SPACE).is_empty() => {}
                "labelSelector" => read.selector = Some(selector(&value)?),
                "limit" => read.limit = Some(limit(&value)?),
                "continue" => read.resume = Some(value),
                "status" => read.shown = shown_by(&value)?,
                "watch" if value == "false" => {}
                "watch" => {
                    return bad("watch takes no other parameter but status, and these parameters no watch: watch the whole list, or leave out watch".into());
                }
                // A list of more than was meant is dangerous to whoever works through it.
                _ if Self::are_in(&name) => {
                    let takes = "a list takes labelSelector, limit, continue and status, spelt so";
                    return Err(no_such_parameter(&name, takes));
                }
                _ => continue,
            }
            given.push(name);
        }
        Ok(read)
    }

    /// What the selector says, or nothing.
    pub(super) fn selector_text(&self) -> &str {
        self.selector.as_ref().map_or("", LabelSelector::as_str)
    }

    /// The query of the page that continues with this token.
    pub(super) fn next(&self, token: &str) -> String {
        let mut query = format!("continue={token}");
        if self.shown == Shown::Status {
            query.push_str("&status=true");
        }
        if let Some(limit) = self.limit {
            query = format!("limit={limit}&{query}");
        }
        if let Some(selector) = &self.selector {
            query.push_str("&labelSelector=");
            query.extend(utf8_percent_encode(selector.as_str(), NON_ALPHANUMERIC));
        }
        query
    }
}

/// A selector within its bounds.
pub(super) fn selector(text: &str) -> Result<LabelSelector, ApiError> {
    if text.len() > LONGEST_SELECTOR {
        return Err(ApiError::BadRequest(format!(
            "labelSelector has {} bytes, more than {LONGEST_SELECTOR}: ask for less at once",
            text.len()
        )));
    }
    let read: LabelSelector = text.parse().map_err(|why| {
        ApiError::BadRequest(format!("labelSelector is {}, and {why}", shown(text)))
    })?;
    if read.keys().count() > MOST_OF_ONE {
        return Err(ApiError::BadRequest(format!(
            "labelSelector has more than {MOST_OF_ONE} conditions: ask for less at once"
        )));
    }
    Ok(read)
}

fn shown_by(status: &str) -> Result<Shown, ApiError> {
    match status {
        "true" => Ok(Shown::Status),
        "false" => Ok(Shown::Count),
        _ => Err(ApiError::BadRequest(status_given())),
    }
}

/// The sentence on a `status` that is neither.
pub(super) fn status_given() -> String {
    "status is given as true or false: with true each Deployment has readyReplicas, too".into()
}

fn limit(text: &str) -> Result<usize, ApiError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let limit = text.parse().ok().filter(|_| digits);
    let limit = limit.filter(|limit| (1..=MOST_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let given = shown(text);
        ApiError::BadRequest(format!(
            "limit is {given}; it must be a whole number from 1 to {MOST_LIMIT}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_misspelt_or_out_of_range_is_refused_and_what_means_nothing_is_not() {
        for bad in [
            "labelselector=a%3Db",
            "label%53elector=a%3Db%3Dc%3D",
            "fieldSelector=x",
            "Limit=1",
            "limit=0",
            "limit=10001",
            "limit=+1",
            "limit=-1",
            "limit=",
            "limit=1&limit=1",
            "labelSelector=a&labelSelector=b",
            "labelSelector=%ff",
            "labelSelector=a&watch",
            "Status=true",
            "status",
            "status=yes",
            "status=true&status=true",
        ] {
            assert!(Parameters::are_in(bad), "{bad}");
            let refused = Parameters::read(Some(bad));
            assert!(matches!(refused, Err(ApiError::BadRequest(_))), "{bad}");
        }
        let long = format!("labelSelector={}", "a,".repeat(600));
        assert!(Parameters::read(Some(&long)).is_err());
        let many: Vec<_> = (0..17).map(|i| format!("k{i}")).collect();
        assert!(Parameters::read(Some(&format!("labelSelector={}", many.join(",")))).is_err());
        assert!(!Parameters::are_in("") && !Parameters::are_in("pretty=true&x"));
    }

    #[test]
    fn the_next_page_is_asked_for_as_this_one_was() {
        let query = "labelSelector=tier+in+(a,b),x!%3Dy&limit=5&status=true";
        let read = Parameters::read(Some(query)).unwrap();
        assert_eq!(read.selector_text(), "tier in (a,b),x!=y");
        let next = Parameters::read(Some(&read.next("00ff"))).unwrap();
        assert_eq!(next.selector_text(), read.selector_text());
        assert_eq!(
            (next.limit, next.resume.as_deref(), next.shown),
            (Some(5), Some("00ff"), Shown::Status)
        );
    }
}
