//! `get` and `wait`: Deployments in detail.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Failed,
    arguments::{Deployment, Named, NamespaceArgs, OutputArgs, ServerArgs, named, time},
    asker::{Asker, understood},
    failed::Code,
    lease::Lease,
    output::{self, Format, Mood, Table, words},
    rollout::{self, Awaited},
};
use crate::{
    client::{Answer, Call},
    pki::printable,
};

/// The arguments of `headcount get`.
#[derive(Debug, Args)]
pub(in crate::cli) struct GetArgs {
    /// The Deployments
    #[arg(value_name = "[NAMESPACE/]NAME", required = true, value_parser = named)]
    names: Vec<Named>,
    /// Say the entity tags that --if-match of each write takes
    #[arg(long)]
    show_etags: bool,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `headcount wait`.
#[derive(Debug, Args)]
pub(in crate::cli) struct WaitArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    /// How long the rollout is waited for
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = time)]
    time: Duration,
    /// Say nothing on the way
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The columns of `-o wide`.
pub(super) const WIDE: [&str; 14] = [
    "NAMESPACE",
    "NAME",
    "DESIRED",
    "CURRENT",
    "UPDATED",
    "READY",
    "AVAILABLE",
    "STATUS",
    "REVISION",
    "SET-AT",
    "ALSO-SET-BY",
    "LEASED-UNTIL",
    "IMAGES",
    "SET-BY",
];

/// The columns of a table that isn't wide.
const USUAL: [&str; 7] = [
    "NAMESPACE",
    "NAME",
    "DESIRED",
    "READY",
    "STATUS",
    "ALSO-SET-BY",
    "SET-BY",
];
/// What stands in a cell that nobody can fill in.
const UNKNOWN: &str = "unknown";

/// What tables show of a Deployment in detail.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) observed_generation: i64,
    pub(super) replicas: Numbers,
    pub(super) rollout: Rollout,
    revision: Option<u64>,
    #[serde(default)]
    containers: Vec<Container>,
    last_set_by: Option<Setter>,
    #[serde(default)]
    also_set_by: Vec<AlsoSetBy>,
    /// Nothing if it can't be known who else sets the count.
    will_stick: Option<bool>,
    lease: Option<Lease>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Numbers {
    pub(super) desired: i64,
    pub(super) current: i64,
    pub(super) updated: i64,
    ready: i64,
    pub(super) available: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rollout {
    pub(super) status: String,
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    name: String,
    image: String,
}

#[derive(Debug, Deserialize)]
struct Setter {
    manager: String,
    principal: Option<String>,
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlsoSetBy {
    kind: String,
    name: String,
    min_replicas: Option<i64>,
    max_replicas: Option<i64>,
}

impl std::fmt::Display for AlsoSetBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        match (self.min_replicas, self.max_replicas) {
            (Some(min), Some(max)) => write!(f, "({min}-{max})"),
            _ => Ok(()),
        }
    }
}

impl AlsoSetBy {
    /// As short as it is understood: `HPA 2-10`.
    fn short(&self) -> String {
        let kind = match self.kind.as_str() {
            "HorizontalPodAutoscaler" => "HPA",
            "ScaledObject" => "KEDA",
            other => other,
        };
        match (self.min_replicas, self.max_replicas) {
            (Some(min), Some(max)) => format!("{kind} {min}-{max}"),
            _ => kind.to_owned(),
        }
    }
}

impl Rollout {
    pub(super) fn mood(&self) -> Mood {
        match self.status.as_str() {
            "complete" => Mood::Good,
            "stalled" => Mood::Bad,
            _ => Mood::Waiting,
        }
    }
}

impl Detail {
    /// Its row, of the columns of [`WIDE`] or the usual ones.
    pub(super) fn cells(&self, deployment: &Deployment, wide: bool) -> Vec<String> {
        let Numbers {
            desired,
            current,
            updated,
            ready,
            available,
        } = &self.replicas;
        let or_none =
            |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".into());
        let set_by = or_none(self.last_set_by.as_ref().map(|by| match &by.principal {
            Some(principal) => principal.clone(),
            None => by.manager.clone(),
        }));
        let Deployment { namespace, name } = deployment;
        let (namespace, name) = (namespace.clone(), name.clone());
        let status = self.rollout.status.clone();
        if !wide {
            return vec![
                namespace,
                name,
                desired.to_string(),
                ready.to_string(),
                status,
                self.others(AlsoSetBy::short),
                set_by,
            ];
        }
        let images = self
            .containers
            .iter()
            .map(|c| format!("{}={}", c.name, c.image));
        vec![
            namespace,
            name,
            desired.to_string(),
            current.to_string(),
            updated.to_string(),
            ready.to_string(),
            available.to_string(),
            status,
            or_none(self.revision.map(|r| r.to_string())),
            or_none(self.last_set_by.as_ref().and_then(|by| by.at.clone())),
            self.others(ToString::to_string),
            or_none(self.lease.as_ref().map(Lease::short)),
            or_none(Some(images.collect::<Vec<_>>().join(","))),
            set_by,
        ]
    }
}

impl Detail {
    /// Who else sets the count, as far as that is known.
    fn others(&self, named: impl Fn(&AlsoSetBy) -> String) -> String {
        if self.also_set_by.is_empty() {
            let nobody = self.will_stick.is_some();
            return if nobody { "-" } else { UNKNOWN }.into();
        }
        let others = self.also_set_by.iter().map(named);
        others.collect::<Vec<_>>().join(",")
    }
}

/// Shows Deployments; those that can't be read are told after those that can.
pub(super) async fn get(args: &GetArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let mut asker = Asker::new(&target);
    let names = args
        .names
        .iter()
        .map(|name| name.in_namespace(&args.namespace, &target));
    let names: Vec<_> = names.collect::<Result<_, _>>()?;
    let format = args.output.output;
    let wide = format == Format::Wide;
    let headers: &[&str] = if wide { &WIDE } else { &USUAL };
    let (mut table, mut moods) = (Table::new(headers), Vec::new());
    let (mut values, mut failures, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for name in &names {
        let answer = match asker.send(&Call::get(name.path())).await {
            Ok(answer) => answer,
            // The count is in the server's copy, which is there without Kubernetes.
            Err(mut failed) if matches!(failed.code, Code::Away | Code::Late) => {
                let Ok((count, _)) = asker.count(name).await else {
                    // Whoever gave one no answer gives the others none.
                    failures.push(failed);
                    break;
                };
                table.row(count_alone(name, count, headers));
                moods.push(Mood::Waiting);
                failed.sentence =
                    format!("of {name} nothing but the count is known, {count}: {failed}");
                failures.push(failed);
                continue;
            }
            Err(failed) if !failed.answered => {
                failures.push(failed);
                break;
            }
            Err(failed) => {
                failures.push(asker.helped(failed, name).await);
                continue;
            }
        };
        let detail: Detail = understood(&answer)?;
        table.row(detail.cells(name, wide));
        moods.push(detail.rollout.mood());
        if format == Format::Table && !detail.also_set_by.is_empty() {
            let others = detail.others(ToString::to_string);
            notes.push(format!(
                "{name}: its count is also set by {others}, which may undo what is set here"
            ));
        }
        if let Some(lease) = detail.lease.as_ref().filter(|_| format == Format::Table) {
            notes.push(format!("{name}: its count is {}", lease.words()));
        }
        if args.show_etags {
            match tags(&mut asker, name, &answer).await {
                Ok(told) => notes.extend(told),
                Err(failed) => failures.push(failed),
            }
        }
        values.push((name, understood::<Value>(&answer)?));
    }
    let is_table = matches!(format, Format::Table | Format::Wide);
    let any = if is_table {
        !moods.is_empty()
    } else {
        !values.is_empty()
    };
    table.moods("STATUS", moods);
    if any {
        match format {
            Format::Table | Format::Wide => output::table(&table)?,
            Format::Name => {
                let lines = values.iter().map(|(name, _)| format!("{name}\n"));
                output::data(&lines.collect::<String>())?;
            }
            // One that was asked for is itself, several are a list, even of one.
            Format::Json | Format::Yaml if names.len() == 1 => output::value(format, &values[0].1)?,
            Format::Json | Format::Yaml => {
                let all = values.into_iter().map(|(_, value)| value).collect();
                output::value(format, &Value::Array(all))?;
            }
        }
    }
    for note in notes {
        words(&note);
    }
    let last = failures.pop();
    for failed in failures {
        words(&format!("error: {failed}"));
    }
    last.map_or(Ok(()), Err)
}

/// What `--if-match` takes: each write has a tag of what it changes.
async fn tags(
    asker: &mut Asker<'_>,
    of: &Deployment,
    detail: &Answer,
) -> Result<Vec<String>, Failed> {
    let containers = Call::get(format!("{}/containers", of.path()));
    let (_, count) = asker.count(of).await?;
    let image = asker.send(&containers).await?;
    let tag = |answer: &Answer| answer.header("etag").unwrap_or_default().to_owned();
    let all = [
        ("set and step", count),
        ("image", tag(&image)),
        ("restart, pause, resume and rollback", tag(detail)),
    ];
    let line = |(writes, tag)| format!("{of}: --if-match '{tag}' of {writes}");
    Ok(all.into_iter().map(line).collect())
}

/// The row of a Deployment of which nothing but the count can be read.
fn count_alone(of: &Deployment, count: i32, headers: &[&str]) -> Vec<String> {
    let cell = |header: &&str| match *header {
        "NAMESPACE" => of.namespace.clone(),
        "NAME" => of.name.clone(),
        "DESIRED" => count.to_string(),
        _ => UNKNOWN.into(),
    };
    headers.iter().map(cell).collect()
}

/// Waits until a rollout has ended.
pub(super) async fn wait(args: &WaitArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let mut asker = Asker::new(&target);
    let deployment = args.name.in_namespace(&args.namespace, &target)?;
    let awaited = Awaited {
        deployment: &deployment,
        version: None,
        count: None,
        time: args.time,
        quiet: args.quiet,
    };
    match rollout::wait(&mut asker, &awaited).await {
        Ok(now) if args.quiet => drop(now),
        Ok(now) => output::data(&format!(
            "{deployment}: {}\n",
            printable(&now.rollout.message)
        ))?,
        Err(failed) => return Err(asker.helped(failed, &deployment).await),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_show_what_a_detail_has_and_a_dash_for_what_it_has_not() {
        let named = Deployment {
            namespace: "web".into(),
            name: "shop".into(),
        };
        let mut detail = serde_json::json!({
            "namespace": "web", "name": "shop", "uid": "u", "resourceVersion": "1029", "generation": 4, "observedGeneration": 4,
            "replicas": {"desired": 5, "current": 4, "updated": 3, "ready": 2, "available": 1}, "paused": false,
            "rollout": {"status": "progressing", "message": "m", "desired": 5, "current": 4, "updated": 3, "ready": 2, "available": 1},
            "revision": 2, "containers": [{"name": "app", "image": "a:2"}, {"name": "log", "image": "l:1"}], "labels": {},
            "lastSetBy": {"manager": "headcount", "principal": "alice", "at": "2026-11-28T09:00:00Z", "subresource": "scale"},
            "alsoSetBy": [{"kind": "HorizontalPodAutoscaler", "name": "shop", "minReplicas": 2, "maxReplicas": 10}],
            "lease": {"replicaCount": 5, "previousReplicaCount": 3, "holder": "bob", "until": "2026-11-28T11:00:00Z", "remainingSeconds": 5400},
        });
        let read = |value: &Value| serde_json::from_value::<Detail>(value.clone()).unwrap();
        let of = |value: &Value, wide| read(value).cells(&named, wide).join(" ");
        assert_eq!(
            of(&detail, false),
            "web shop 5 2 progressing HPA 2-10 alice"
        );
        assert_eq!(
            of(&detail, true),
            "web shop 5 4 3 2 1 progressing 2 2026-11-28T09:00:00Z HorizontalPodAutoscaler/shop(2-10) 2026-11-28T11:00:00Z by bob app=a:2,log=l:1 alice"
        );
        detail["lastSetBy"] = serde_json::json!({"manager": "kubectl", "principal": null, "at": null, "subresource": ""});
        assert_eq!(
            of(&detail, false),
            "web shop 5 2 progressing HPA 2-10 kubectl"
        );
        assert_eq!(
            read(&detail).lease.unwrap().words(),
            "leased by bob until 2026-11-28T11:00:00Z (1h30m), and 3 again then"
        );
        for gone in ["lastSetBy", "alsoSetBy", "revision", "lease"] {
            detail.as_object_mut().unwrap().remove(gone);
        }
        detail["containers"] = serde_json::json!([]);
        assert_eq!(
            of(&detail, true),
            "web shop 5 4 3 2 1 progressing - - unknown - - -"
        );
        detail["willStick"] = serde_json::json!(true);
        assert_eq!(of(&detail, false), "web shop 5 2 progressing - -");
    }
}
