//! How many writes are sent: what would become of them first, then a question if need be, and what was is kept before they are made.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::Path,
    pin::pin,
};

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    signal::{
        self,
        unix::{SignalKind, signal},
    },
    task::spawn_blocking,
    time::timeout,
};

use super::{
    super::{
        Failed,
        arguments::Deployment,
        asker::{Asker, GLANCE, understood},
        failed::Code,
        output::{self, Format, span, words},
        snapshot::{SnapshotFile, as_argument},
    },
    ManyArgs,
    told::{Outcome, Shown, Told},
};
use crate::{
    client::{Answer, Call},
    pki::printable,
};

/// Of no more than these it is looked which names are near: each costs lists.
const MOST_HELPED: usize = 3;

/// Who got no answer to a dry run has to know that it was one.
fn unset(mut failed: Failed) -> Failed {
    if !failed.answered {
        failed.sentence = format!(
            "{}; nothing was set: so far it was only asked what would become of them",
            failed.sentence.trim_end_matches('.')
        );
    }
    failed
}

/// Many writes that are about to be sent.
pub(super) struct Sending<'a> {
    pub(super) asker: Asker<'a>,
    pub(super) args: &'a ManyArgs,
    pub(super) path: &'static str,
    /// By which a server knows the batch that follows a dry run.
    pub(super) key: Option<String>,
    /// For how many seconds the counts are leased, if they are.
    pub(super) lease: Option<u32>,
    /// The snapshot that is brought back.
    pub(super) back_from: Option<&'a Path>,
}

impl Sending<'_> {
    fn call(&self, body: &Value, dry_run: bool) -> Call {
        let query = if dry_run { "?dryRun=true" } else { "" };
        let given = [
            ("idempotency-key", &self.key),
            ("x-reason", &self.args.reason),
        ];
        let headers = given.into_iter();
        Call {
            method: Method::POST,
            path: format!("{}{query}", self.path),
            headers: headers
                .filter_map(|(name, value)| Some((name, value.clone()?)))
                .collect(),
            body: Some(body.to_string()),
        }
    }

    /// What would become of each, and the counts of now by which they can be brought back.
    pub(super) async fn planned(&mut self, body: &Value) -> Result<(Value, Answer, Told), Failed> {
        let call = self.call(body, true);
        let answer = self.asker.send(&call).await.map_err(unset)?;
        let mut told = self.told(&answer)?;
        Ok((told.snapshot.take(), answer, told))
    }

    /// What the server tells of them, in the words of what is made.
    fn told(&self, answer: &Answer) -> Result<Told, Failed> {
        let mut told: Told = understood(answer)?;
        if self.back_from.is_some() {
            told.results.iter_mut().for_each(Outcome::not_back);
        }
        Ok(told)
    }

    /// How the table of them reads.
    const fn shown(&self, dry_run: bool) -> Shown {
        Shown {
            back: self.back_from.is_some(),
            dry_run,
        }
    }

    /// Has somebody at a terminal agree to what would become of each; nobody is asked where there is none.
    pub(super) async fn confirmed(&self, plan: &Told) -> Result<(), Failed> {
        if self.args.yes || !io::stderr().is_terminal() {
            return Ok(());
        }
        for line in plan.table(&self.shown(true)).text(false).lines() {
            words(line);
        }
        let failed = |error: io::Error| {
            Failed::usage(format!(
                "failed to ask: {error}; nothing was changed; agree with --yes"
            ))
        };
        // From before the question on, whoever is asked may answer with Ctrl-C.
        let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
        let these = match plan.results.len() {
            1 => "this Deployment".to_owned(),
            many => format!("these {many} Deployments"),
        };
        let _ = write!(io::stderr(), "Set {these}? [y/N] ");
        let typed = tokio::select! {
            typed = spawn_blocking(typed) => typed.map_err(io::Error::other).flatten().map_err(failed)?,
            _ = interrupted.recv() => {
                let _ = writeln!(io::stderr());
                return Err(Failed::new(Code::Interrupted, "nothing was set: it was only asked whether to"));
            }
        };
        if ["y", "yes"].contains(&typed.trim().to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        Err(Failed::new(Code::Failed, "nothing was changed"))
    }

    /// Makes them, with the counts from before kept beforehand.
    pub(super) async fn made(
        &mut self,
        body: &Value,
        many: usize,
        known: &Value,
    ) -> Result<(), Failed> {
        let mut file = SnapshotFile::new(self.args.snapshot.as_deref(), known)?;
        let call = self.call(body, false);
        let (answer, refused) = match self.heard(&call).await {
            Ok(answered) => answered,
            Err(failed) if failed.sent => return Err(self.unsettled(failed, many, file, known)),
            Err(failed) => {
                file.remove();
                return Err(failed);
            }
        };
        match refused {
            // Nothing of it was begun.
            Some(failed)
                if answer.status.is_client_error()
                    || answer.status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                file.remove();
                return Err(failed);
            }
            Some(failed) => return Err(self.unsettled(failed, many, file, known)),
            None => {}
        }
        let told = match self.told(&answer) {
            Ok(told) => told,
            Err(failed) => return Err(self.unsettled(failed, many, file, known)),
        };
        // Before anything is said to be done.
        let changed = told.snapshot["items"].as_array().map_or(0, Vec::len);
        let kept = if changed == 0 {
            file.remove();
            Ok(())
        } else {
            let kept = file.replace(&told.snapshot);
            if kept.is_ok() && !self.args.quiet {
                let path = as_argument(file.path());
                words(&format!(
                    "{path} has the counts from before: `headcount restore {path}` brings them back"
                ));
            }
            kept
        };
        let done = self.tell(&answer, told).await;
        kept.and(done)
    }

    /// The answer; a first Ctrl-C is told what goes on, the second one ends the waiting.
    async fn heard(&mut self, call: &Call) -> Result<(Answer, Option<Failed>), Failed> {
        let mut answered = pin!(self.asker.answered(call));
        tokio::select! {
            answered = &mut answered => return answered,
            _ = signal::ctrl_c() => words(
                "the server finishes what it has begun: its answer is waited for; Ctrl-C again leaves without it",
            ),
        }
        tokio::select! {
            answered = &mut answered => answered,
            _ = signal::ctrl_c() => Err(Failed {
                answered: false,
                ..Failed::new(Code::Interrupted, "the answer is waited for no longer, and the server finishes what it has begun")
            }),
        }
    }

    /// Who got no answer has to know what may have happened, and how to find out.
    fn unsettled(
        &self,
        mut failed: Failed,
        many: usize,
        file: SnapshotFile,
        known: &Value,
    ) -> Failed {
        let path = as_argument(file.path());
        let what = match self.back_from {
            Some(from) => {
                file.remove();
                let again = match from == Path::new("-") {
                    true => "the same restore".to_owned(),
                    false => format!("`headcount restore {}`", as_argument(from)),
                };
                format!(
                    "{again} again brings back the others, and leaves alone what it has brought back"
                )
            }
            None if known["items"].as_array().is_some_and(|all| !all.is_empty()) => format!(
                "{path} has the counts from before: `headcount restore {path}` brings back those that this batch has set and leaves the others alone"
            ),
            None => {
                file.remove();
                match self.lease {
                    Some(seconds) => format!(
                        "what was set is leased, and goes back by itself when its time ({}) is over",
                        span(seconds.into())
                    ),
                    None => "no snapshot could be kept".to_owned(),
                }
            }
        };
        let which = match many {
            1 => "whether the Deployment was set".to_owned(),
            many => format!("which of the {many} Deployments were set"),
        };
        failed.sentence = format!(
            "{}; {which} isn't known: {what}; `headcount history` shows what was set by whom, `headcount leases` what is leased",
            failed.sentence.trim_end_matches('.')
        );
        failed
    }

    /// What became of each; the first failure is that of all.
    pub(super) async fn tell(&mut self, answer: &Answer, mut told: Told) -> Result<(), Failed> {
        // Nice to have: what became of them is told soon all the same.
        let _ = timeout(GLANCE, self.help(&mut told)).await;
        let format = self.args.output.output;
        let is_table = matches!(format, Format::Table | Format::Wide);
        for one in &told.results {
            let name = format!("{}/{}", one.namespace, one.name);
            for warning in &one.warnings {
                words(&format!("warning: {name}: {warning}"));
            }
            if let Some(error) = one.error.as_ref().filter(|_| !is_table || self.args.quiet) {
                words(&format!("error: {name}: {error}"));
            }
        }
        match format {
            Format::Json | Format::Yaml => output::value(format, &understood(answer)?)?,
            Format::Name => {
                let made = told.results.iter().filter(|one| one.error.is_none());
                let lines =
                    made.map(|one| printable(&format!("{}/{}", one.namespace, one.name)) + "\n");
                output::data(&lines.collect::<String>())?;
            }
            Format::Table | Format::Wide if self.args.quiet => {}
            Format::Table | Format::Wide => {
                output::table(&told.table(&self.shown(self.args.dry_run)))?
            }
        }
        if self.args.dry_run && !self.args.quiet {
            words("dry run: nothing was changed");
        }
        let mut failures = told.results.iter().filter(|one| one.error.is_some());
        let Some(first) = failures.next() else {
            return Ok(());
        };
        let status = StatusCode::from_u16(first.status).unwrap_or_default();
        let (failed, all) = (1 + failures.count(), told.results.len());
        let left = match (self.back_from, self.args.dry_run) {
            (Some(_), false) => "weren't brought back",
            (Some(_), true) => "wouldn't be brought back",
            (None, false) => "weren't set",
            (None, true) => "wouldn't be set",
        };
        Err(Failed::new(
            Code::of(status),
            format!(
                "{failed} of {all} {left}, the first one {}/{}: {}",
                first.namespace,
                first.name,
                first.error.as_deref().unwrap_or_default()
            ),
        ))
    }

    /// Adds to those that aren't there the names that are near, as for one that is set alone.
    async fn help(&mut self, told: &mut Told) {
        if self.back_from.is_some() {
            return;
        }
        let missing = told.results.iter_mut().filter(|one| one.is_missing());
        for one in missing.take(MOST_HELPED) {
            let missed = Deployment {
                namespace: one.namespace.clone(),
                name: one.name.clone(),
            };
            if let (Some(more), Some(error)) = (self.asker.near(&missed).await, &mut one.error) {
                *error = format!("{}; {more}", error.trim_end_matches('.'));
            }
        }
    }
}

/// What somebody types.
fn typed() -> io::Result<String> {
    let mut line = String::new();
    // Of a stdin that has the counts no answer comes.
    if io::stdin().is_terminal() {
        io::stdin().read_line(&mut line)?;
    } else {
        BufReader::new(File::open("/dev/tty")?).read_line(&mut line)?;
    }
    Ok(line)
}
