//! Asks a server, and makes of its refusals what to do next.

use std::time::{Duration, Instant};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Failed,
    arguments::{Deployment, Target},
    failed::Code,
    output::words,
};
use crate::client::{Answer, Call, Session};

/// A Deployment of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counted {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) replica_count: i32,
}

/// Asks one server over one connection.
pub(super) struct Asker<'t> {
    session: Session<'t>,
    timeout: Duration,
    verbose: bool,
}

impl<'t> Asker<'t> {
    pub(super) fn new(target: &'t Target) -> Self {
        Self {
            session: target.client.session(),
            timeout: target.timeout,
            verbose: target.verbose,
        }
    }

    /// Sends a call; what comes back is a success.
    pub(super) async fn send(&mut self, call: &Call) -> Result<Answer, Failed> {
        match self.answered(call).await? {
            (answer, None) => Ok(answer),
            (_, Some(failed)) => Err(failed),
        }
    }

    /// Sends a call; what comes back, and what it means if it isn't a success.
    pub(super) async fn answered(
        &mut self,
        call: &Call,
    ) -> Result<(Answer, Option<Failed>), Failed> {
        let began = Instant::now();
        let answer = self.session.send(call, self.timeout).await?;
        if self.verbose {
            let took = began.elapsed().as_millis();
            let id = answer.header("x-request-id").unwrap_or("none");
            words(&format!(
                "{} {} {} in {took} ms (request id {id})",
                call.method, call.path, answer.status
            ));
        }
        let failed = (!answer.status.is_success()).then(|| Failed::of(&answer));
        Ok((answer, failed))
    }

    /// Reads what is at a path.
    pub(super) async fn read<T: DeserializeOwned>(&mut self, path: String) -> Result<T, Failed> {
        understood(&self.send(&Call::get(path)).await?)
    }

    /// Adds to a failure about a Deployment what helps with it, as far as the caller may know that.
    pub(super) async fn helped(&mut self, mut failed: Failed, about: &Deployment) -> Failed {
        let more = match failed.code {
            Code::NotFound if failed.answered => self.near(about).await,
            _ => None,
        };
        if let Some(more) = more {
            failed.sentence = format!("{}; {more}", failed.sentence.trim_end_matches('.'));
        }
        failed
    }

    /// The count of a Deployment, and its tag.
    pub(super) async fn count(&mut self, of: &Deployment) -> Result<(i32, String), Failed> {
        let answer = self
            .send(&Call::get(format!("{}/replicas", of.path())))
            .await?;
        let counted: Counted = understood(&answer)?;
        let tag = answer.header("etag").unwrap_or_default().to_owned();
        Ok((counted.replica_count, tag))
    }

    /// Names that are nearly the one that isn't there.
    async fn near(&mut self, missed: &Deployment) -> Option<String> {
        let all: Vec<Counted> = self.read("/api/v1/deployments".into()).await.ok()?;
        // Then it was something of it that isn't there.
        if all
            .iter()
            .any(|one| one.namespace == missed.namespace && one.name == missed.name)
        {
            return None;
        }
        let mut near: Vec<_> = all
            .iter()
            .filter_map(|one| {
                let elsewhere = one.namespace != missed.namespace;
                let far = distance(&one.name, &missed.name);
                let within =
                    one.name.contains(&missed.name) || far <= (missed.name.len() / 3).max(2);
                // A name in another namespace must be the very same one.
                let counts = if elsewhere { far == 0 } else { within };
                counts.then(|| (far, format!("{}/{}", one.namespace, one.name)))
            })
            .collect();
        near.sort();
        let names: Vec<_> = near.into_iter().take(3).map(|(_, name)| name).collect();
        (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
    }
}

/// What an answer says, if it can be understood.
pub(super) fn understood<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failed> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Failed::new(
            Code::Failed,
            format!("failed to understand the server's answer: {error}; see that it is headcount, of a version that this client knows"),
        )
    })
}

/// How many letters have to be changed, added or taken away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_of_names_counts_letters() {
        for (a, b, far) in [
            ("shop", "shop", 0),
            ("shop", "shpo", 2),
            ("shop", "shops", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (far, far), "{a} {b}");
        }
    }
}
