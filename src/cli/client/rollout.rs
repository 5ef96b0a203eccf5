//! Follows a rollout until it has ended: a bar on a terminal, a line for each step elsewhere.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use tokio::{
    signal,
    time::{Instant, sleep_until},
};

use super::{
    Failed,
    arguments::Deployment,
    asker::{Asker, understood},
    failed::Code,
    output::{self, moves, painted, words},
    read::Detail,
};
use crate::{client::Call, pki::printable};

/// How often is asked how far it is: the server asks the cluster once a second at most, so that more would tell nothing.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the answer is waited for that is asked for when time is up.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How long the bar is, in characters.
const BAR: usize = 20;

/// What is waited for.
pub(super) struct Awaited<'a> {
    pub(super) deployment: &'a Deployment,
    /// The version that a write made; no older state is looked at.
    pub(super) version: Option<&'a str>,
    /// The count that a write set: with another one the rollout is somebody else's.
    pub(super) count: Option<i64>,
    pub(super) time: Duration,
    /// Nothing is said on the way.
    pub(super) quiet: bool,
}

/// Waits until a rollout has ended; other ends than a complete one are failures.
pub(super) async fn wait(asker: &mut Asker<'_>, awaited: &Awaited<'_>) -> Result<Detail, Failed> {
    let mut progress = Progress::new(awaited.quiet);
    let followed = tokio::select! {
        followed = follow(asker, awaited, &mut progress) => followed,
        _ = signal::ctrl_c() => Err(Failed::new(
            Code::Interrupted,
            match awaited.version {
                Some(_) => format!("{} is waited for no longer; what was written stands, and its rollout goes on", awaited.deployment),
                None => format!("{} is waited for no longer; its rollout goes on", awaited.deployment),
            },
        )),
    };
    progress.end();
    followed
}

async fn follow(
    asker: &mut Asker<'_>,
    awaited: &Awaited<'_>,
    progress: &mut Progress,
) -> Result<Detail, Failed> {
    let deadline = Instant::now() + awaited.time;
    let name = awaited.deployment;
    let mut call = Call::get(name.path());
    if let Some(version) = awaited.version {
        call.headers
            .push(("x-min-resource-version", version.to_owned()));
    }
    let mut uid = None;
    let mut last = "nothing was heard of it".to_owned();
    let mut met = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        asker.hurry(left.max(LAST_LOOK));
        match asker
            .send(&call)
            .await
            .and_then(|answer| understood::<Detail>(&answer))
        {
            Ok(now) => {
                let first = uid.get_or_insert_with(|| now.uid.clone());
                if *first != now.uid
                    || awaited
                        .count
                        .is_some_and(|count| count != now.replicas.desired)
                {
                    return Err(Failed::new(
                        Code::Conflict,
                        format!(
                            "{name} was changed by somebody else meanwhile (superseded): its count is {} now; `headcount get {name} -o wide` shows who set it",
                            now.replicas.desired
                        ),
                    ));
                }
                progress.show(name, &now);
                last.clone_from(&now.rollout.message);
                match now.rollout.status.as_str() {
                    "complete" => return Ok(now),
                    // A paused one is scaled all the same.
                    "paused" if awaited.count.is_some() && scaled(&now) => return Ok(now),
                    "paused" if awaited.count.is_none() => {
                        return Err(Failed::new(
                            Code::Failed,
                            format!(
                                "{name} is paused, and its rollout ends no sooner than that; `headcount resume {name}`"
                            ),
                        ));
                    }
                    "stalled" => return Err(Failed::new(Code::Failed, format!("{name}: {last}"))),
                    _ => {}
                }
            }
            // A server that restarts or is busy comes back; another refusal stays.
            Err(failed) if matches!(failed.code, Code::Away | Code::Late) => {
                // Who was never there isn't waited for.
                if !failed.answered && uid.is_none() && awaited.version.is_none() {
                    return Err(failed);
                }
                if !std::mem::replace(&mut met, true) {
                    words(&format!("{failed}; {name} is asked again until time is up"));
                }
                last = failed.sentence;
            }
            Err(failed) => return Err(failed),
        }
        if left.is_zero() {
            return Err(Failed::new(
                Code::Late,
                format!(
                    "{name} is not complete after {:?}: {last}; the rollout goes on, wait longer with `headcount wait {name} --for …`",
                    awaited.time
                ),
            ));
        }
        sleep_until(deadline.min(Instant::now() + PERIOD)).await;
    }
}

/// Whether there are as many Pods as are wanted, of whichever template.
fn scaled(now: &Detail) -> bool {
    let pods = &now.replicas;
    now.observed_generation >= now.generation
        && pods.current == pods.desired
        && pods.available >= pods.desired
}

/// What is said on the way.
struct Progress {
    quiet: bool,
    /// Whether one line is written over and over.
    bar: bool,
    colours: bool,
    began: Instant,
    said: String,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let stderr = io::stderr();
        Self {
            quiet,
            bar: moves(&stderr),
            colours: output::colours(&stderr),
            began: Instant::now(),
            said: String::new(),
        }
    }

    fn show(&mut self, name: &Deployment, now: &Detail) {
        if self.quiet {
            return;
        }
        let message = printable(&now.rollout.message);
        if self.bar {
            let seconds = self.began.elapsed().as_secs();
            let mood = now.rollout.mood();
            let bar = bar(
                now.replicas.available.min(now.replicas.updated),
                now.replicas.desired,
            );
            let bar = if self.colours {
                painted(&bar, mood)
            } else {
                bar
            };
            // Cut where the terminal ends: of a line that went on below, only the end would be written over.
            let _ = write!(
                io::stderr(),
                "\r\x1b[K\x1b[?7l{name} [{bar}] {message} ({seconds} s)\x1b[?7h"
            );
            self.said = message;
        } else if self.said != message {
            words(&format!("{name}: {message}"));
            self.said = message;
        }
    }

    /// Leaves the terminal at the beginning of a line.
    fn end(&self) {
        if self.bar && !self.said.is_empty() {
            let _ = writeln!(io::stderr());
        }
    }
}

/// So much of a bar as is done.
fn bar(done: i64, of: i64) -> String {
    let share = if of <= 0 {
        BAR as i64
    } else {
        done.clamp(0, of) * BAR as i64 / of
    };
    let full = usize::try_from(share).unwrap_or_default().min(BAR);
    format!("{}{}", "#".repeat(full), "-".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_as_full_as_the_rollout_is_done_whatever_the_numbers() {
        for (done, of, full) in [
            (0, 3, 0),
            (1, 2, 10),
            (3, 3, 20),
            (0, 0, 20),
            (9, 3, 20),
            (-1, 3, 0),
            (i64::from(i32::MAX), i64::from(i32::MAX), 20),
        ] {
            let bar = bar(done, of);
            assert_eq!(
                (bar.len(), bar.matches('#').count()),
                (20, full),
                "{done}/{of}"
            );
        }
    }
}
