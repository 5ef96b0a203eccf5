//! Steps that were made already, by their `Idempotency-Key`: a repetition is answered and not made again.
//!
//! This server remembers them for an hour. The last one of each Deployment is known to every server: its key is marked in the
//! name of the field manager that set the count.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use tokio::time::Instant;

use super::ApiError;
use crate::{kubernetes::Written, pki::hexadecimal};

/// How long a step is remembered.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// How many are, at most: the oldest go first.
const MOST: usize = 4096;
/// How many of one caller: its oldest make room for its next, and nobody else's do.
const MOST_OF_ONE: usize = MOST / 4;
/// The longest key, in bytes.
const LONGEST: usize = 128;

/// The key of a request, if it has one: 1 to 128 visible ASCII characters, with or without quotes around them.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let wrong = || {
        ApiError::BadRequest(format!(
            "Idempotency-Key is given once, 1 to {LONGEST} visible ASCII characters: a new one for each step, the same for its repetitions"
        ))
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if given.next().is_some() || !fits {
        return Err(wrong());
    }
    Ok(Some(text.trim_matches('"').to_owned()))
}

/// What a key is known by: whose it is, for which Deployment, and which.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Mark([u8; 8]);

impl Mark {
    pub(super) fn of(caller: &str, (namespace, name): (&str, &str), key: &str) -> Self {
        // No part has a NUL: where one ends is plain.
        let all = [caller, namespace, name, key].join("\0");
        let mut mark = [0; 8];
        mark.copy_from_slice(&digest(&SHA256, all.as_bytes()).as_ref()[..8]);
        Self(mark)
    }

    /// As it stands in the name of a field manager.
    pub(super) fn text(&self) -> String {
        hexadecimal(&self.0)
    }
}

/// What is known of a step.
#[derive(Debug, Clone)]
enum Step {
    UnderWay,
    Made(i32, Written<i32>),
}

/// A step with whose it is and since when it is known.
#[derive(Debug)]
struct Known {
    by: Box<str>,
    since: Instant,
    step: Step,
}

/// The steps of the last hour.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<HashMap<Mark, Known>>);

/// What becomes of a step that is asked for.
pub(super) enum Beginning<'a> {
    /// It is begun.
    New(Begun<'a>),
    /// It was made before.
    Made(Written<i32>),
}

/// A step that is begun; unless it is said to be made, it is forgotten.
pub(super) struct Begun<'a> {
    steps: &'a Steps,
    by: &'a str,
    mark: &'a Mark,
    made: bool,
}

impl Steps {
    /// Begins a step of a caller, or says what became of it before.
    pub(super) fn begin<'a>(
        &'a self,
        by: &'a str,
        mark: &'a Mark,
        delta: i32,
    ) -> Result<Beginning<'a>, ApiError> {
        let mut steps = self.lock();
        match steps.get(mark).map(|known| (known.since, &known.step)) {
            Some((since, Step::Made(was, written))) if since.elapsed() < KEPT => {
                if *was != delta {
                    return Err(ApiError::BadRequest(format!(
                        "this Idempotency-Key was that of a step by {was}: give each step a new one"
                    )));
                }
                return Ok(Beginning::Made(written.clone()));
            }
            Some((_, Step::UnderWay)) => return Err(ApiError::StepUnderWay),
            _ => {}
        }
        make_room(&mut steps, by);
        steps.insert(mark.clone(), Known::now(by, Step::UnderWay));
        Ok(Beginning::New(Begun {
            steps: self,
            by,
            mark,
            made: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Mark, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a step, if there are as many of this caller or of all as there may be.
fn make_room(steps: &mut HashMap<Mark, Known>, by: &str) {
    if steps.len() < MOST_OF_ONE {
        return;
    }
    steps.retain(|_, known| known.since.elapsed() < KEPT);
    let own = |known: &Known| *known.by == *by;
    let too_many = steps.values().filter(|known| own(known)).count() >= MOST_OF_ONE;
    if too_many || steps.len() >= MOST {
        let may_go = steps.iter().filter(|(_, known)| !too_many || own(known));
        let oldest = may_go.min_by_key(|(_, known)| known.since);
        if let Some(oldest) = oldest.map(|(mark, _)| mark.clone()) {
            steps.remove(&oldest);
        }
    }
}

impl Known {
    fn now(by: &str, step: Step) -> Self {
        Self {
            by: by.into(),
            since: Instant::now(),
            step,
        }
    }
}

impl Begun<'_> {
    /// Keeps what was made.
    pub(super) fn made(mut self, delta: i32, written: &Written<i32>) {
        let made = Known::now(self.by, Step::Made(delta, written.clone()));
        self.steps.lock().insert(self.mark.clone(), made);
        self.made = true;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.made {
            self.steps.lock().remove(self.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(caller: &str, key: usize) -> Mark {
        Mark::of(caller, ("web", "shop"), &key.to_string())
    }

    fn make(steps: &Steps, caller: &str, key: usize) {
        let mark = mark(caller, key);
        let Ok(Beginning::New(begun)) = steps.begin(caller, &mark, 1) else {
            panic!("{caller} {key} was known");
        };
        let written = Written {
            uid: uuid::Uuid::nil(),
            previous: 1,
            now: 2,
            resource_version: 5,
            seen: true,
        };
        begun.made(1, &written);
    }

    fn is_known(steps: &Steps, caller: &str, key: usize) -> bool {
        steps.lock().contains_key(&mark(caller, key))
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_many_keys_makes_the_server_forget_its_own_and_nobody_elses() {
        let steps = Steps::default();
        make(&steps, "alice", 0);
        for key in 0..MOST + 10 {
            tokio::time::advance(Duration::from_millis(1)).await;
            make(&steps, "bob", key);
        }
        assert!(is_known(&steps, "alice", 0));
        assert!(!is_known(&steps, "bob", 0));
        assert!(is_known(&steps, "bob", MOST + 9));
        assert_eq!(steps.lock().len(), MOST_OF_ONE + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_callers_the_oldest_steps_are_forgotten_first() {
        let steps = Steps::default();
        for key in 0..MOST + 1 {
            tokio::time::advance(Duration::from_millis(1)).await;
            make(&steps, &format!("caller {}", key % 8), key);
        }
        assert!(!is_known(&steps, "caller 0", 0));
        assert!(is_known(&steps, "caller 1", 1));
        assert_eq!(steps.lock().len(), MOST);
    }
}
