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

/// The steps of the last hour.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<HashMap<Mark, (Instant, Step)>>);

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
    mark: &'a Mark,
    made: bool,
}

impl Steps {
    /// Begins a step, or says what became of it before.
    pub(super) fn begin<'a>(
        &'a self,
        mark: &'a Mark,
        delta: i32,
    ) -> Result<Beginning<'a>, ApiError> {
        let mut steps = self.lock();
        let now = Instant::now();
        match steps.get(mark) {
            Some((at, Step::Made(was, written))) if now - *at < KEPT => {
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
        if steps.len() >= MOST {
            steps.retain(|_, (at, _)| now - *at < KEPT);
        }
        if steps.len() >= MOST {
            let oldest = steps.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(mark, _)| mark.clone()) {
                steps.remove(&oldest);
            }
        }
        steps.insert(mark.clone(), (now, Step::UnderWay));
        Ok(Beginning::New(Begun {
            steps: self,
            mark,
            made: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Mark, (Instant, Step)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun<'_> {
    /// Keeps what was made.
    pub(super) fn made(mut self, delta: i32, written: &Written<i32>) {
        let made = Step::Made(delta, written.clone());
        let mut steps = self.steps.lock();
        steps.insert(self.mark.clone(), (Instant::now(), made));
        drop(steps);
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
