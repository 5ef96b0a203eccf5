//! `list`: Deployments with their counts, whole or page by page.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use clap::Args;
use http::{StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Failed,
    arguments::{Deployment, OutputArgs, ServerArgs, Target, WhereArgs},
    asker::{Asker, understood},
    failed::Code,
    lease::{self, Lease},
    output::{self, Format, Table, words},
    read::{Detail, WIDE},
};
use crate::{
    client::{Answer, Call},
    numbers::whole_number,
    pki::printable,
};

/// How often a list is begun anew whose state the server keeps no more.
const BEGINNINGS: u32 = 3;
/// A longer time than this isn't waited for a server that can't answer yet.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Of so many Deployments `-o wide` reads more than the list has: each is a question to the cluster.
const MOST_WIDE: usize = 100;
/// How many of these are under way at once.
const READS_AT_ONCE: usize = 4;

/// The arguments of `headcount list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    place: WhereArgs,
    /// Those with such labels alone, like team=web,tier!=test or 'app in (a, b)'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Those alone of which fewer are ready than desired
    #[arg(long)]
    not_ready: bool,
    /// Ask for so many at a time, 10000 at most; 0 asks for all at once
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole_number(0_u32, 10_000))]
    chunk_size: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A Deployment of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    namespace: String,
    name: String,
    replica_count: i32,
    ready_replicas: Option<i32>,
}

impl Listed {
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Lists Deployments.
pub(super) async fn list(args: &ListArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let mut asker = Asker::new(&target);
    let mut all = match whole(&mut asker, &path(args), BEGINNINGS).await {
        Err(failed)
            if is_old(&failed) && args.place.namespace.is_some() && args.selector.is_none() =>
        {
            words(
                "the server is of an older version, without lists of one namespace: it is asked for all",
            );
            let mut all: Vec<Value> = asker.read("/api/v1/deployments".into()).await?;
            all.retain(|one| args.place.namespace.as_deref() == one["namespace"].as_str());
            all
        }
        done => done?,
    };
    let found = all.len();
    if args.not_ready {
        all = not_ready(all)?;
    }
    let format = args.output.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return output::value(format, &Value::Array(all));
    }
    if all.is_empty() {
        let meant = meant(args);
        words(&match found {
            0 => format!("no Deployments{meant}"),
            1 => format!("all replicas are ready of the one Deployment{meant}"),
            _ => format!("all replicas are ready of the {found} Deployments{meant}"),
        });
        return Ok(());
    }
    let all: Vec<Listed> = serde_json::from_value(Value::Array(all)).map_err(|error| {
        Failed::new(
            Code::Failed,
            format!("failed to understand the server's list: {error}; see that it is headcount, of a version that this client knows"),
        )
    })?;
    if format == Format::Name {
        let lines = all
            .iter()
            .map(|one| format!("{}\n", printable(&one.full_name())));
        return output::data(&lines.collect::<String>());
    }
    if format == Format::Wide && all.len() <= MOST_WIDE {
        return wide(&target, &all).await;
    }
    if format == Format::Wide {
        words(&format!(
            "more than the count is read of {MOST_WIDE} Deployments at most, and these are {}: name a namespace with -n, labels with -l, or use `headcount get`",
            all.len()
        ));
    }
    let leases = lease::known(&mut asker, args.place.namespace.as_deref()).await;
    let mut headers = vec!["NAMESPACE", "NAME", "DESIRED"];
    let with_ready = all.iter().any(|one| one.ready_replicas.is_some());
    if with_ready {
        headers.push("READY");
    }
    if !leases.is_empty() {
        headers.push("LEASED-UNTIL");
    }
    let mut table = Table::new(&headers);
    for one in all {
        let lease = leases.get(&one.full_name());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut cells = vec![one.namespace, one.name, one.replica_count.to_string()];
        if with_ready {
            cells.push(or_none(one.ready_replicas.map(|n| n.to_string())));
        }
        if !leases.is_empty() {
            cells.push(or_none(lease.map(Lease::short)));
        }
        table.row(cells);
    }
    output::table(&table)
}

/// Those of which fewer are ready than desired.
fn not_ready(all: Vec<Value>) -> Result<Vec<Value>, Failed> {
    let mut lacking = Vec::new();
    for one in all {
        // A server that doesn't tell must not look like one where all is well.
        let (Some(desired), Some(ready)) =
            (one["replicaCount"].as_i64(), one["readyReplicas"].as_i64())
        else {
            return Err(Failed::new(
                Code::Failed,
                "the server's list doesn't tell how many are ready, it is of an older version: see with `headcount get`",
            ));
        };
        if ready < desired {
            lacking.push(one);
        }
    }
    Ok(lacking)
}

/// Lists them in detail, each by a read of its own; those that have gone meanwhile are left out.
async fn wide(target: &Target, all: &[Listed]) -> Result<(), Failed> {
    let untaken = Cell::new(0);
    let rows = RefCell::new(BTreeMap::new());
    let read = || async {
        let mut asker = Asker::new(target);
        while let Some(one) = all.get(untaken.get()) {
            let at = untaken.replace(untaken.get() + 1);
            let deployment = Deployment {
                namespace: one.namespace.clone(),
                name: one.name.clone(),
            };
            match asker.read::<Detail>(deployment.path()).await {
                Ok(detail) => {
                    let row = (detail.cells(&deployment, true), detail.rollout.mood());
                    rows.borrow_mut().insert(at, row);
                }
                Err(failed) if failed.answered && failed.code == Code::NotFound => {}
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    };
    futures_util::future::try_join_all((0..READS_AT_ONCE).map(|_| read())).await?;
    let mut table = Table::new(&WIDE);
    let mut moods = Vec::new();
    for (_, (cells, mood)) in rows.take() {
        table.row(cells);
        moods.push(mood);
    }
    table.moods("STATUS", moods);
    output::table(&table)
}

/// Which Deployments there are none of.
fn meant(args: &ListArgs) -> String {
    let place = args.place.namespace.as_ref();
    let place = place.map_or_else(String::new, |n| format!(" in the namespace {n}"));
    let labels = args.selector.as_ref();
    let labels = labels.map_or_else(String::new, |l| format!(" with the labels {l}"));
    format!("{place}{labels} that this server manages and you may see")
}

fn path(args: &ListArgs) -> String {
    let mut path = match &args.place.namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/deployments"),
        None => "/api/v1/deployments".into(),
    };
    let mut mark = '?';
    let mut parameter = |name: &str, value: &str| {
        path.push(mark);
        path.push_str(name);
        path.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        mark = '&';
    };
    if let Some(selector) = &args.selector {
        parameter("labelSelector=", selector);
    }
    if args.not_ready || args.output.output == Format::Wide {
        parameter("status=", "true");
    }
    if args.chunk_size > 0 {
        parameter("limit=", &args.chunk_size.to_string());
    }
    path
}

/// Whether the server knows no list of one namespace.
fn is_old(failed: &Failed) -> bool {
    failed.code == Code::NotFound && failed.sentence.starts_with("there is no such path")
}

/// All pages, of one state.
async fn whole(asker: &mut Asker<'_>, path: &str, beginnings: u32) -> Result<Vec<Value>, Failed> {
    let (mut begun, mut waited) = (0, false);
    let mut all = Vec::new();
    let mut next = path.to_owned();
    loop {
        let (answer, failed) = asker.answered(&Call::get(next.clone())).await?;
        if let Some(failed) = failed {
            begun += 1;
            if answer.status == StatusCode::GONE && next != path && begun < beginnings {
                words("the server keeps this state of the list no more; it is begun anew");
                path.clone_into(&mut next);
                all.clear();
                continue;
            }
            // Labels that nobody has asked for yet are read first, which takes the server some seconds.
            if let Some(pause) = pause_of(&answer).filter(|_| !waited) {
                waited = true;
                words(&format!(
                    "the server can't answer yet; it is asked again in {} s",
                    pause.as_secs()
                ));
                sleep(pause).await;
                continue;
            }
            return Err(failed);
        }
        all.extend(understood::<Vec<Value>>(&answer)?);
        match following(&answer, &next) {
            Some(page) => next = page,
            None => return Ok(all),
        }
    }
}

/// How long to wait before the server can answer, if that is not long.
fn pause_of(answer: &Answer) -> Option<Duration> {
    let unavailable = answer.status == StatusCode::SERVICE_UNAVAILABLE;
    let pause = answer.header("retry-after").filter(|_| unavailable)?;
    let pause = Duration::from_secs(pause.parse().ok()?);
    (pause <= LONGEST_PAUSE).then_some(pause)
}

/// The path of the next page (`Link`, RFC 8288), if there is one; never one that has just been asked for.
fn following(answer: &Answer, asked: &str) -> Option<String> {
    let links = answer.headers.get_all("link").iter();
    links
        .filter_map(|link| link.to_str().ok())
        .flat_map(|links| links.split(','))
        .find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = |p: &str| {
                let p = p.trim().to_ascii_lowercase();
                p == "rel=\"next\"" || p == "rel=next"
            };
            if !parameters.split(';').any(is_next) {
                return None;
            }
            let target: Uri = target.parse().ok()?;
            let path = target.path_and_query()?.as_str();
            (path.starts_with('/') && path != asked).then(|| path.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn the_next_page_is_what_a_link_says_and_never_the_same_one() {
        let next = |links: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for link in links {
                headers.append("link", HeaderValue::from_static(link));
            }
            let answer = Answer {
                status: StatusCode::OK,
                headers,
                body: Bytes::new(),
            };
            following(&answer, "/a?limit=1")
        };
        for (links, expected) in [
            (&[][..], None),
            (
                &["</a?limit=1&continue=x>; rel=\"next\""],
                Some("/a?limit=1&continue=x"),
            ),
            (
                &["<https://elsewhere/b?c=d>; title=t; REL=Next"],
                Some("/b?c=d"),
            ),
            (&["</first>; rel=\"first\", </b>; rel=\"next\""], Some("/b")),
            (&["</first>; rel=\"first\"", "</b>;rel=next"], Some("/b")),
            (&["</a?limit=1>; rel=\"next\""], None),
            (&["/a; rel=\"next\""], None),
            (&["<>; rel=\"next\""], None),
        ] {
            assert_eq!(next(links).as_deref(), expected, "{links:?}");
        }
    }
}
