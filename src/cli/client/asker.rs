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

/// What is read of a Deployment in detail for the names of its containers.
#[derive(Deserialize)]
struct Containers {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    image: String,
}

/// How long what is nice to know is waited for.
pub(super) const GLANCE: Duration = Duration::from_secs(3);
/// Of more Deployments than these, nobody is told the names that are near.
pub(super) const MOST: u32 = 1000;

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

    /// Waits no longer than this for the next answers, where it would have.
    pub(super) fn hurry(&mut self, timeout: Duration) {
        self.timeout = self.timeout.min(timeout);
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
            tell(call, &answer, began);
        }
        let failed = (!answer.status.is_success()).then(|| Failed::of(&answer));
        Ok((answer, failed))
    }

    /// Reads what is at a path.
    pub(super) async fn read<T: DeserializeOwned>(&mut self, path: String) -> Result<T, Failed> {
        understood(&self.send(&Call::get(path)).await?)
    }

    /// Reads what is nice to know; nothing if it can't be read, or not soon.
    pub(super) async fn glance<T: DeserializeOwned>(&mut self, path: String) -> Option<T> {
        let patience = self.timeout;
        self.hurry(GLANCE);
        let read = self.read(path).await;
        self.timeout = patience;
        read.ok()
    }

    /// Adds to a failure about a Deployment what helps with it, as far as the caller may know that.
    pub(super) async fn helped(&mut self, mut failed: Failed, about: &Deployment) -> Failed {
        if !failed.answered {
            return failed;
        }
        let said = failed.sentence.trim_end_matches('.');
        // What the server says of paths is said of commands here.
        if let Some((what, _)) = said.split_once(": its containers are at ") {
            let all = self.containers(about).await;
            let names: Vec<_> = all.into_iter().map(|(name, _)| name).collect();
            failed.sentence = match names[..] {
                [] => what.to_owned(),
                _ => format!("{what}: it has {}", names.join(", ")),
            };
        } else if said.starts_with("the Deployment's rollouts are paused") {
            failed.sentence = format!(
                "the rollouts of {about} are paused: let them go on first, with `headcount resume {about}`"
            );
        } else if let Some((what, more)) = said.split_once("keep this one with ?keep=true") {
            failed.sentence =
                format!("{what}keep this one with `headcount cancel {about} --keep`{more}");
        } else if said.starts_with("the Deployment has no lease") {
            let near = self.near(about).await;
            let more = near.map_or_else(String::new, |more| format!("; {more}"));
            failed.sentence = format!(
                "{about} has no lease: `headcount leases` shows those that there are{more}"
            );
        } else if failed.code == Code::NotFound
            && let Some(more) = self.near(about).await
        {
            failed.sentence = format!("{said}; {more}");
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

    /// The Deployments of a namespace, or of all; none if they are more than `most` or can't be listed: for what is nice to have.
    pub(super) async fn listed(&mut self, namespace: Option<&str>, most: u32) -> Vec<Counted> {
        let path = match namespace {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/deployments"),
            None => "/api/v1/deployments".into(),
        };
        match self.send(&Call::get(format!("{path}?limit={most}"))).await {
            Ok(answer) if answer.header("link").is_none() => {
                understood(&answer).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The containers of a Deployment with their images; none if they can't be read.
    pub(super) async fn containers(&mut self, of: &Deployment) -> Vec<(String, String)> {
        let read = self.read::<Containers>(of.path()).await;
        let all = read.map(|read| read.containers).unwrap_or_default();
        all.into_iter().map(|c| (c.name, c.image)).collect()
    }

    /// Names that are nearly the one that isn't there.
    pub(super) async fn near(&mut self, missed: &Deployment) -> Option<String> {
        let mut all = self.listed(Some(&missed.namespace), MOST).await;
        // Then it was something of it that isn't there.
        if all.iter().any(|one| one.name == missed.name) {
            return None;
        }
        all.extend(self.listed(None, MOST).await);
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
        near.dedup();
        let names: Vec<_> = near.into_iter().take(3).map(|(_, name)| name).collect();
        (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
    }
}

/// Says that a call was answered.
pub(in crate::cli) fn tell(call: &Call, answer: &Answer, began: Instant) {
    let took = began.elapsed().as_millis();
    let id = answer.header("x-request-id").unwrap_or("none");
    let tag = answer.header("etag");
    let tag = tag.map_or_else(String::new, |tag| format!(", ETag {tag}"));
    words(&format!(
        "{} {} {} in {took} ms (request id {id}{tag})",
        call.method, call.path, answer.status
    ));
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
