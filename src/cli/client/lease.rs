//! `leases`, `extend` and `cancel`: counts that are leased for a time.

use std::collections::BTreeMap;

use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Failed,
    arguments::{
        Named, NamespaceArgs, OutputArgs, ServerArgs, Target, WhereArgs, lease_time, named, reason,
    },
    asker::{Asker, understood},
    failed::Code,
    output::{self, Format, Table, span, words},
    write::warnings,
};
use crate::{client::Call, numbers::replicas, pki::printable};

/// The arguments of `headcount leases`.
#[derive(Debug, Args)]
pub(in crate::cli) struct LeasesArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What changes a lease.
#[derive(Debug, Args)]
struct LeaseArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// Why, for the log, the audit trail and the Deployment's Events
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Say nothing of what was done
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `headcount extend`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExtendArgs {
    #[command(flatten)]
    lease: LeaseArgs,
    /// For how long from now on
    #[arg(value_name = "TIME", value_parser = lease_time)]
    time: u32,
}

/// The arguments of `headcount cancel`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CancelArgs {
    #[command(flatten)]
    lease: LeaseArgs,
    /// Leave the count as it is, in place of going back to the one before
    #[arg(long)]
    keep: bool,
}

/// What is shown of a lease.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lease {
    pub(super) replica_count: Option<i64>,
    pub(super) previous_replica_count: Option<i64>,
    #[serde(default)]
    pub(super) holder: String,
    pub(super) until: String,
    remaining_seconds: Option<i64>,
    #[serde(default)]
    state: String,
    taken_at: Option<String>,
    reason: Option<String>,
}

/// A lease of a list.
#[derive(Debug, Deserialize)]
struct Listed {
    namespace: String,
    name: String,
    #[serde(flatten)]
    lease: Lease,
}

impl Listed {
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Lease {
    /// Until when, and whose it is.
    pub(super) fn short(&self) -> String {
        match self.holder.as_str() {
            "" => self.until.clone(),
            holder => format!("{} by {holder}", self.until),
        }
    }

    /// What becomes of it when another one is taken over it.
    pub(super) fn renewed(&self) -> String {
        match self.holder.as_str() {
            "" => "renews the lease that there was".into(),
            holder => format!("renews {holder}'s lease"),
        }
    }

    /// What becomes of it when somebody sets a count, `now`.
    pub(super) fn ended(&self, now: &Value, dry_run: bool) -> String {
        let whose = match self.holder.as_str() {
            "" => "the lease that there was".into(),
            holder => format!("{holder}'s lease"),
        };
        let (ends, stay) = match dry_run {
            true => ("would end", "would not come back"),
            false => ("has ended", "will not come back"),
        };
        match self.previous_replica_count {
            Some(before) if now.as_i64() != Some(before) => {
                format!("{whose} {ends}: its {before} from before {stay}")
            }
            _ => format!("{whose} {ends}"),
        }
    }

    /// What becomes of the count then.
    pub(super) fn words(&self) -> String {
        let holder = match self.holder.as_str() {
            "" => String::new(),
            holder => format!(" by {holder}"),
        };
        let left = match self.remaining_seconds {
            Some(_) => format!(" ({})", self.left()),
            None => String::new(),
        };
        let then = match self.previous_replica_count {
            Some(before) => format!(", and {before} again then"),
            None => String::new(),
        };
        format!("leased{holder} until {}{left}{then}", self.until)
    }

    fn left(&self) -> String {
        match self.remaining_seconds.map(u64::try_from) {
            None => "-".into(),
            Some(Ok(0) | Err(_)) => "over".into(),
            Some(Ok(left)) => span(left),
        }
    }
}

/// Shows the leases that there are.
pub(super) async fn leases(args: &LeasesArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let path = path(args.place.namespace.as_deref());
    let answer = Asker::new(&target).send(&Call::get(path)).await?;
    for warning in warnings(&answer, &Value::Null) {
        words(&format!("warning: {warning}"));
    }
    let format = args.output.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return output::value(format, &understood(&answer)?);
    }
    let all: Vec<Listed> = understood(&answer)?;
    if all.is_empty() {
        let place = args.place.namespace.as_ref();
        let place = place.map_or_else(String::new, |n| format!(" in the namespace {n}"));
        words(&format!("no leases{place} that you may see"));
        return Ok(());
    }
    if format == Format::Name {
        let lines = all.iter().map(Listed::full_name);
        return output::data(
            &lines
                .map(|name| printable(&name) + "\n")
                .collect::<String>(),
        );
    }
    table(all, format == Format::Wide)
}

fn table(all: Vec<Listed>, wide: bool) -> Result<(), Failed> {
    let mut headers = vec![
        "NAMESPACE",
        "NAME",
        "LEASED",
        "BEFORE",
        "HOLDER",
        "UNTIL",
        "LEFT",
        "STATE",
    ];
    if wide {
        headers.extend(["TAKEN", "REASON"]);
    }
    let mut table = Table::new(&headers);
    for Listed {
        namespace,
        name,
        lease,
    } in all
    {
        let or_none =
            |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".into());
        let number = |n: Option<i64>| or_none(n.map(|n| n.to_string()));
        let left = lease.left();
        let mut cells = vec![
            namespace,
            name,
            number(lease.replica_count),
            number(lease.previous_replica_count),
            or_none(Some(lease.holder)),
            lease.until,
            left,
            or_none(Some(lease.state)),
        ];
        if wide {
            cells.extend([or_none(lease.taken_at), or_none(lease.reason)]);
        }
        table.row(cells);
    }
    output::table(&table)
}

/// Where the leases are.
fn path(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("/api/v1/leases?namespace={namespace}"),
        None => "/api/v1/leases".into(),
    }
}

/// The leases that there are, by Deployment; none where the server has none, or they can't be read: they are beside the counts.
pub(super) async fn known(
    asker: &mut Asker<'_>,
    namespace: Option<&str>,
) -> BTreeMap<String, Lease> {
    let all: Option<Vec<Listed>> = asker.glance(path(namespace)).await;
    let named = all.into_iter().flatten();
    named.map(|one| (one.full_name(), one.lease)).collect()
}

/// Makes a lease longer, or shorter: so long from now on.
pub(super) async fn extend(args: &ExtendArgs) -> Result<(), Failed> {
    let target = args.lease.server.target_of_writes()?;
    let body = json!({ "durationSeconds": args.time });
    let (name, done) = args
        .lease
        .sent(&target, Method::PATCH, "", Some(&body))
        .await?;
    args.lease.tell(&name, &done, |done| {
        let lease = if done["lease"].is_object() {
            &done["lease"]
        } else {
            done
        };
        match Lease::deserialize(lease) {
            // Whose it is and what it goes back to stays as it was.
            Ok(lease) => lease.words(),
            Err(_) => format!("leased for {} from now on", span(args.time.into())),
        }
    })
}

/// Ends a lease.
pub(super) async fn cancel(args: &CancelArgs) -> Result<(), Failed> {
    let target = args.lease.server.target_of_writes()?;
    let query = if args.keep { "?keep=true" } else { "" };
    let (name, done) = args
        .lease
        .sent(&target, Method::DELETE, query, None)
        .await?;
    args.lease.tell(&name, &done, |done| {
        match (done["reverted"].as_bool(), done["replicaCount"].as_i64()) {
            (Some(true), Some(count)) => {
                format!("is leased no longer, and has {} again", replicas(count))
            }
            (Some(false), Some(count)) => {
                format!("is leased no longer, and keeps its {}", replicas(count))
            }
            _ => "is leased no longer".into(),
        }
    })
}

impl LeaseArgs {
    async fn sent(
        &self,
        target: &Target,
        method: Method,
        query: &str,
        body: Option<&Value>,
    ) -> Result<(String, Value), Failed> {
        let deployment = self.name.in_namespace(&self.namespace, target)?;
        let mut asker = Asker::new(target);
        let mut headers = vec![("prefer", "return=representation".to_owned())];
        headers.extend(self.reason.clone().map(|reason| ("x-reason", reason)));
        let call = Call {
            method,
            path: format!("{}/lease{query}", deployment.path()),
            headers,
            body: body.map(ToString::to_string),
        };
        match asker.send(&call).await {
            Ok(answer) => Ok((deployment.to_string(), understood(&answer)?)),
            Err(mut failed) => {
                if failed.sent && (!failed.answered || failed.code == Code::Late) {
                    failed.sentence = format!(
                        "{}; whether it was done isn't known: see with `headcount leases -n {}` and `headcount get {deployment}`",
                        failed.sentence.trim_end_matches('.'),
                        deployment.namespace
                    );
                    return Err(failed);
                }
                Err(asker.helped(failed, &deployment).await)
            }
        }
    }

    fn tell(
        &self,
        name: &str,
        done: &Value,
        words_of: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failed> {
        match self.output.output {
            Format::Json | Format::Yaml => output::value(self.output.output, done),
            Format::Name => output::data(&format!("{name}\n")),
            Format::Table | Format::Wide if self.quiet => Ok(()),
            Format::Table | Format::Wide => {
                output::data(&format!("{name} {}\n", printable(&words_of(done))))
            }
        }
    }
}
