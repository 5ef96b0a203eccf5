//! `batch` and `restore`: the counts of many Deployments at once, and back.

mod sending;
mod told;

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use sending::Sending;

use super::{
    Failed,
    arguments::{NamespaceArgs, OutputArgs, ServerArgs, Target, lease_time, reason},
    asker::Asker,
    counts::{self, Count},
    failed::Code,
    snapshot::{self, not_there},
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
    #[arg(long, value_name = "TEXT", value_parser = reason)]
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
        lease: args.lease,
        back_from: None,
    };
    let (snapshot, answer, plan) = sending.planned(&body).await?;
    if plan.results.is_empty() {
        if args.many.output.is_structured() {
            sending.tell(&answer, plan).await?;
        }
        return Err(args.none_selected(&body));
    }
    if args.many.dry_run {
        return sending.tell(&answer, plan).await;
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
        sending.confirmed(&plan).await?;
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
        lease: None,
        back_from: Some(&args.file),
    };
    if args.many.dry_run || count > MOST_UNASKED {
        let (_, answer, plan) = sending.planned(&body).await?;
        if args.many.dry_run {
            return sending.tell(&answer, plan).await;
        }
        sending.confirmed(&plan).await?;
    }
    sending.made(&body, count, &Value::Null).await
}

impl BatchArgs {
    /// Nobody's count was set, which is no success of who wanted counts to be set.
    fn none_selected(&self, body: &Value) -> Failed {
        let selector = self.selector.as_deref().unwrap_or_default();
        let place = body["namespace"].as_str();
        let place = place.map_or_else(String::new, |n| format!(" in the namespace {n}"));
        Failed::new(
            Code::NotFound,
            format!(
                "no Deployments with the labels {selector}{place} that this server manages and you may see: nothing was changed"
            ),
        )
    }

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
