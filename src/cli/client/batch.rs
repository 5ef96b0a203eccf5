//! `batch` and `restore`: the counts of many Deployments at once, and back.

mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    pin::pin,
};

use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::signal;

use told::Told;

use super::{
    Failed,
    arguments::{NamespaceArgs, OutputArgs, ServerArgs, Target, lease_time, one_line},
    asker::{Asker, understood},
    counts::{self, Count},
    failed::Code,
    lease::{self, Lease},
    output::{self, Format, words},
    snapshot::{self, SnapshotFile, as_argument, not_there},
};
use crate::{
    client::{Answer, Call},
    pki::printable,
};

/// More Deployments than these aren't changed before somebody at a terminal has agreed.
const MOST_UNASKED: usize = 20;
/// No file of counts is longer, in bytes.
const LONGEST_FILE: u64 = 1024 * 1024;

/// How many are changed.
#[derive(Debug, Args)]
pub(in crate::cli) struct ManyArgs {
    /// Show what would become of each, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask at a terminal, whatever is changed
    #[arg(short, long)]
    yes: bool,
    /// Keep the counts from before in this new file, in place of headcount-snapshot-TIME.json in the current folder
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    snapshot: Option<PathBuf>,
    /// Why, for the log, the audit trail and the Deployments' Events
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    reason: Option<String>,
    /// Say nothing of what was done; failures are told
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `headcount batch`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BatchArgs {
    /// The Deployments with their new counts; with --selector the one COUNT
    #[arg(
        value_name = "[NAMESPACE/]NAME=COUNT",
        required_unless_present_any = ["file", "selector"]
    )]
    counts: Vec<String>,
    /// Read them of a file, or of stdin (-): lines of NAME COUNT, or JSON or YAML
    #[arg(short, long, value_name = "FILE", conflicts_with = "selector")]
    file: Option<PathBuf>,
    /// Those with such labels, like team=web,tier!=test or 'app in (a, b)'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Those of all namespaces
    #[arg(short = 'A', long, requires = "selector", conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// Lease the counts for so long: then each is again what it was, unless somebody else has set another
    #[arg(long = "for", value_name = "TIME", value_parser = lease_time)]
    lease: Option<u32>,
    #[command(flatten)]
    many: ManyArgs,
}

/// The arguments of `headcount restore`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// The snapshot that a batch has written, or - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    many: ManyArgs,
}

/// Sets many counts.
pub(super) async fn batch(args: &BatchArgs) -> Result<(), Failed> {
    let target = args.many.server.target_of_batches()?;
    args.many.snapshot.as_deref().map_or(Ok(()), not_there)?;
    let mut body = args.wanted(&target)?;
    let mut sending = Sending {
        asker: Asker::new(&target),
        args: &args.many,
        path: "/api/v1/batches",
        // By it the server knows beforehand how each count is recognised later.
        key: (!args.many.dry_run).then(|| format!("{:032x}", fastrand::u128(..))),
        back_from: None,
        leases: BTreeMap::new(),
    };
    if args.lease.is_some() && args.many.output.is_table() && !args.many.quiet {
        sending.leases = lease::known(&mut sending.asker, None).await;
    }
    let (snapshot, answer, plan) = sending.planned(&body).await?;
    if plan.results.is_empty() {
        let selector = args.selector.as_deref().unwrap_or_default();
        words(&format!(
            "no Deployments with the labels {selector} that this server manages and you may see: nothing was changed"
        ));
        if !args.many.output.is_structured() {
            return Ok(());
        }
    }
    if args.many.dry_run || plan.results.is_empty() {
        return sending.tell(&answer, &plan);
    }
    if args.selector.is_some() {
        let count = body["replicaCount"].take();
        let items = plan.results.iter().map(
            |one| json!({"namespace": one.namespace, "name": one.name, "replicaCount": count}),
        );
        // Those that were shown, whatever gets the labels meanwhile.
        body = json!({ "items": items.collect::<Vec<_>>() });
    }
    if let Some(seconds) = args.lease {
        body["durationSeconds"] = seconds.into();
    }
    if args.selector.is_some() || plan.results.len() > MOST_UNASKED {
        sending.confirmed(&plan)?;
    }
    sending.made(&body, plan.results.len(), &snapshot).await
}

/// Brings back what a batch has changed.
pub(super) async fn restore(args: &RestoreArgs) -> Result<(), Failed> {
    let target = args.many.server.target_of_batches()?;
    args.many.snapshot.as_deref().map_or(Ok(()), not_there)?;
    let body = snapshot::read(&args.file)?;
    let count = body["items"].as_array().map_or(0, Vec::len);
    let mut sending = Sending {
        asker: Asker::new(&target),
        args: &args.many,
        path: "/api/v1/batches/restore",
        key: None,
        back_from: Some(&args.file),
        leases: BTreeMap::new(),
    };
    if args.many.dry_run || count > MOST_UNASKED {
        let (_, answer, plan) = sending.planned(&body).await?;
        if args.many.dry_run {
            return sending.tell(&answer, &plan);
        }
        sending.confirmed(&plan)?;
    }
    sending.made(&body, count, &Value::Null).await
}

impl BatchArgs {
    /// The body that says what is wanted.
    fn wanted(&self, target: &Target) -> Result<Value, Failed> {
        let mut body = match &self.selector {
            Some(selector) => self.selected(selector, target)?,
            None => json!({ "items": self.listed(target)? }),
        };
        if let Some(seconds) = self.lease {
            body["durationSeconds"] = seconds.into();
        }
        Ok(body)
    }

    fn selected(&self, selector: &str, target: &Target) -> Result<Value, Failed> {
        let [count] = &self.counts[..] else {
            return Err(Failed::usage(
                "with --selector give one COUNT, for all that are selected, and no names",
            ));
        };
        let count = counts::count(count).map_err(Failed::usage)?;
        let mut body = json!({ "labelSelector": selector, "replicaCount": count });
        if !self.all_namespaces {
            let namespace = self.namespace.namespace.as_ref();
            let namespace = namespace.or(target.namespace.as_ref()).ok_or_else(|| {
                Failed::usage("the namespace is missing: give --namespace, or --all-namespaces, or a context with a namespace")
            })?;
            body["namespace"] = namespace.as_str().into();
        }
        Ok(body)
    }

    fn listed(&self, target: &Target) -> Result<Vec<Value>, Failed> {
        let mut all = Vec::new();
        for text in &self.counts {
            all.push(counts::name_and_count(text).map_err(Failed::usage)?);
        }
        if let Some(file) = &self.file {
            let (text, place) = snapshot::text_of(file, LONGEST_FILE)?;
            let read = counts::of_file(&text);
            all.extend(read.map_err(|why| {
                Failed::usage(format!("failed to understand the counts in {place}: {why}"))
            })?);
        }
        let items = all
            .iter()
            .map(|one: &Count| one.item(&self.namespace, target));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let mut named = BTreeSet::new();
        for item in &items {
            let (namespace, name) = (item["namespace"].as_str(), item["name"].as_str());
            if !named.insert((namespace, name)) {
                return Err(Failed::usage(format!(
                    "{}/{} is named twice: give each Deployment once",
                    namespace.unwrap_or_default(),
                    name.unwrap_or_default()
                )));
            }
        }
        Ok(items)
    }
}

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
struct Sending<'a> {
    asker: Asker<'a>,
    args: &'a ManyArgs,
    path: &'static str,
    key: Option<String>,
    /// The snapshot that is brought back.
    back_from: Option<&'a Path>,
    /// The leases that there are, as far as others may be taken over them.
    leases: BTreeMap<String, Lease>,
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
    async fn planned(&mut self, body: &Value) -> Result<(Value, Answer, Told), Failed> {
        let call = self.call(body, true);
        let answer = self.asker.send(&call).await.map_err(unset)?;
        let mut told: Told = understood(&answer)?;
        Ok((told.snapshot.take(), answer, told))
    }

    /// Has somebody at a terminal agree to what would become of each; nobody is asked where there is none.
    fn confirmed(&self, plan: &Told) -> Result<(), Failed> {
        if self.args.yes || !io::stderr().is_terminal() {
            return Ok(());
        }
        for line in plan
            .table(self.back_from.is_some(), &self.leases)
            .text(false)
            .lines()
        {
            words(line);
        }
        let these = match plan.results.len() {
            1 => "this Deployment".to_owned(),
            many => format!("these {many} Deployments"),
        };
        let _ = write!(io::stderr(), "Set {these}? [y/N] ");
        let mut line = String::new();
        // Of a stdin that has the counts no answer comes.
        let read = if io::stdin().is_terminal() {
            io::stdin().read_line(&mut line)
        } else {
            File::open("/dev/tty").and_then(|tty| BufReader::new(tty).read_line(&mut line))
        };
        read.map_err(|error| {
            Failed::usage(format!(
                "failed to ask: {error}; nothing was changed; agree with --yes"
            ))
        })?;
        if ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        Err(Failed::new(Code::Failed, "nothing was changed"))
    }

    /// Makes them, with the counts from before kept beforehand.
    async fn made(&mut self, body: &Value, many: usize, known: &Value) -> Result<(), Failed> {
        let file = SnapshotFile::new(self.args.snapshot.as_deref(), known)?;
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
        let told: Told = match understood(&answer) {
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
        let done = self.tell(&answer, &told);
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
                "no snapshot could be kept".to_owned()
            }
        };
        failed.sentence = format!(
            "{}; which of the {many} Deployments were set isn't known: {what}; `headcount history` shows what was set by whom, `headcount leases` what is leased",
            failed.sentence.trim_end_matches('.')
        );
        failed
    }

    /// What became of each; the first failure is that of all.
    fn tell(&self, answer: &Answer, told: &Told) -> Result<(), Failed> {
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
                output::table(&told.table(self.back_from.is_some(), &self.leases))?
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
        let left = match self.back_from {
            Some(_) => "weren't brought back",
            None => "weren't set",
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
}
