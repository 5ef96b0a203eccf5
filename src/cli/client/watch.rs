//! `watch`: what is there, and then each change, until Ctrl-C; it comes back by itself when the stream ends.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use serde::Deserialize;
use tokio::{
    signal,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Failed,
    arguments::{Named, NamespaceArgs, OutputArgs, ServerArgs, Target, named, time},
    changes::{Change, Key, Shown, What},
    failed::Code,
    output::{self, Format, words},
};
use crate::client::{Call, Client, Event, Events, Followed};

/// Without a word for so long, three heartbeats of the server, nobody is there any more.
const SILENCE: Duration = Duration::from_secs(45);
/// How long the first attempt to come back waits; each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The arguments of `headcount watch`.
#[derive(Debug, Args)]
pub(in crate::cli) struct WatchArgs {
    /// Those that are watched; without a name all that you may watch
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    names: Vec<Named>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// End after the first change
    #[arg(long)]
    once: bool,
    /// End after so long; with --once that is a failure
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What an event says of a Deployment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    namespace: String,
    name: String,
    replica_count: i64,
    ready_replicas: Option<i64>,
    resource_version: Option<String>,
}

/// What is known of a Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    count: i64,
    /// How many are ready, where that is shown.
    ready: Option<i64>,
}

/// Watches Deployments.
pub(super) async fn watch(args: &WatchArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let names = args
        .names
        .iter()
        .map(|name| name.in_namespace(&args.namespace, &target))
        .map(|named| named.map(|d| (d.namespace, d.name)));
    let names: Vec<Key> = names.collect::<Result<_, _>>()?;
    let end = args.time.map(|time| Instant::now() + time);
    let mut watching = Watching {
        path: path(args, &names),
        names,
        once: args.once,
        known: None,
        shown: Shown::new(args.output.output),
        events: Events::default(),
        pause: FIRST_PAUSE,
    };
    let followed = async {
        match end {
            None => watching.follow(&target).await,
            Some(end) => timeout_at(end, watching.follow(&target))
                .await
                .unwrap_or_else(|_elapsed| if args.once { Err(late(args)) } else { Ok(()) }),
        }
    };
    tokio::select! {
        followed = followed => followed,
        // Whoever ends a watch has seen enough, and so has whoever reads no more of it.
        _ = signal::ctrl_c() => Ok(()),
        () = output::unread() => Ok(()),
    }
}

fn late(args: &WatchArgs) -> Failed {
    let time = args.time.unwrap_or_default();
    Failed::new(
        Code::Late,
        format!("nothing has changed within {time:?}; watch longer with --for …"),
    )
}

/// The narrowest stream that has them all.
fn path(args: &WatchArgs, names: &[Key]) -> String {
    let mut namespaces = names.iter().map(|(namespace, _)| namespace);
    let one = match namespaces.next() {
        Some(first) => namespaces.all(|n| n == first).then_some(first),
        None => args.namespace.namespace.as_ref(),
    };
    let status = if args.output.output == Format::Wide {
        "&status=true"
    } else {
        ""
    };
    match one {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/deployments?watch{status}"),
        None => format!("/api/v1/deployments?watch{status}"),
    }
}

/// A stream that is followed.
struct Watching {
    path: String,
    /// Those that are shown; all if it is empty.
    names: Vec<Key>,
    once: bool,
    /// What is there, as far as was told; nothing before the first snapshot.
    known: Option<BTreeMap<Key, Known>>,
    shown: Shown,
    events: Events,
    /// How long the next attempt to come back waits.
    pause: Duration,
}

impl Watching {
    /// Follows the stream, and comes back whenever it ends in a way that passes.
    async fn follow(&mut self, target: &Target) -> Result<(), Failed> {
        let client = &target.client;
        loop {
            let ended = match self.read(client, target.verbose).await {
                Ok(Ended::Enough) => return Ok(()),
                Ok(Ended::ByServer) => "the server has ended the stream".to_owned(),
                // Who was never there isn't waited for.
                Err(failed) if self.known.is_some() && passes(&failed) => failed.sentence,
                Err(failed) => return Err(failed),
            };
            let asked = self.events.retry().unwrap_or_default();
            let pause = asked.max(self.pause);
            // Not all who were there come back at once.
            let pause = pause.mul_f64(1.0 + fastrand::f64() / 2.0);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            words(&format!(
                "{ended}; it is asked again in {:.1} s",
                pause.as_secs_f64()
            ));
            sleep(pause).await;
        }
    }

    /// One connection's part of the stream.
    async fn read(&mut self, client: &Client, verbose: bool) -> Result<Ended, Failed> {
        let mut call = Call::get(self.path.clone());
        call.headers.push(("accept", "text/event-stream".into()));
        let id = self.events.id().to_owned();
        if !id.is_empty() {
            call.headers.push(("last-event-id", id.clone()));
        }
        let mut stream = match client.follow(&call).await? {
            Followed::Stream(stream) => stream,
            Followed::Answer(answer) => {
                let refused = Failed::of(&answer);
                if answer.status == http::StatusCode::BAD_REQUEST && !id.is_empty() {
                    // Another server may not know its ids; without one it tells everything anew.
                    self.events = Events::default();
                    return Err(Failed::new(Code::Away, refused.sentence));
                }
                return Err(refused);
            }
        };
        if verbose {
            let since = if id.is_empty() {
                String::new()
            } else {
                format!(" since {id}")
            };
            words(&format!("GET {} follows{since}", self.path));
        }
        if self.known.is_some() {
            words("watching again");
        }
        self.events.resume();
        let mut found = Vec::new();
        while let Some(bytes) = stream.next(SILENCE).await? {
            self.pause = FIRST_PAUSE;
            let read = self.events.read(&bytes, &mut found);
            for event in found.drain(..) {
                if !self.tell(&event).await? {
                    return Ok(Ended::Enough);
                }
            }
            read.map_err(|_too_long| {
                Failed::new(Code::Failed, "the server's list is longer than 64 MiB; watch one namespace of it with --namespace")
            })?;
        }
        Ok(Ended::ByServer)
    }

    /// Shows what an event says; whether there is to be more.
    async fn tell(&mut self, event: &Event) -> Result<bool, Failed> {
        let first = self.known.is_none();
        let changes = match event.kind.as_str() {
            "snapshot" => self.replace(understood(&event.data)?),
            "added" | "changed" => self.set(understood(&event.data)?).into_iter().collect(),
            "deleted" => self.delete(understood(&event.data)?).into_iter().collect(),
            // What a later server says besides.
            _ => return Ok(true),
        };
        if !self.shown.show(&changes).await? {
            return Ok(false);
        }
        if first {
            if self.names.is_empty() && changes.is_empty() {
                words(
                    "there is no Deployment yet that you may watch; the first one is shown once it is there",
                );
            }
            for (namespace, name) in self.missing() {
                words(&format!(
                    "{namespace}/{name} isn't there, or you may not watch it; it is shown once it is"
                ));
            }
        }
        Ok(!(self.once && !first && !changes.is_empty()))
    }

    fn missing(&self) -> Vec<&Key> {
        let there = |name: &&Key| self.known.as_ref().is_none_or(|k| !k.contains_key(*name));
        self.names.iter().filter(there).collect()
    }

    fn is_meant(&self, key: &Key) -> bool {
        self.names.is_empty() || self.names.contains(key)
    }

    /// All that is there now: what it changes of what was known.
    fn replace(&mut self, all: Vec<Told>) -> Vec<Change> {
        let now: BTreeMap<Key, Known> = all
            .into_iter()
            .map(Told::parted)
            .map(|(key, now, _)| (key, now))
            .filter(|(key, _)| self.is_meant(key))
            .collect();
        let change = |what, key: &Key, now: &Known, before| Change {
            what,
            key: key.clone(),
            count: now.count,
            ready: now.ready,
            before,
            version: None,
        };
        let changes = match &self.known {
            None => now
                .iter()
                .map(|(key, now)| change(What::Listed, key, now, None))
                .collect(),
            Some(known) => {
                let gone = known.iter().filter(|(key, _)| !now.contains_key(*key));
                let gone = gone.map(|(key, last)| change(What::Deleted, key, last, None));
                let there = now.iter().filter_map(|(key, now)| match known.get(key) {
                    None => Some(change(What::Added, key, now, None)),
                    Some(before) if before != now => {
                        Some(change(What::Changed, key, now, Some(before.count)))
                    }
                    Some(_) => None,
                });
                let changes: Vec<_> = gone.chain(there).collect();
                words(&format!(
                    "the server has told everything anew; changed since: {}",
                    changes.len()
                ));
                changes
            }
        };
        self.known = Some(now);
        changes
    }

    /// One that is there now; nothing if that was known, since events may come twice.
    fn set(&mut self, told: Told) -> Option<Change> {
        let (key, now, version) = told.parted();
        if !self.is_meant(&key) {
            return None;
        }
        let known = self.known.get_or_insert_default();
        let before = known.insert(key.clone(), now);
        (before != Some(now)).then(|| Change {
            what: before.map_or(What::Added, |_| What::Changed),
            key,
            count: now.count,
            ready: now.ready,
            before: before.map(|before| before.count),
            version,
        })
    }

    fn delete(&mut self, told: Told) -> Option<Change> {
        let (key, _, version) = told.parted();
        let last = self.known.as_mut()?.remove(&key)?;
        Some(Change {
            what: What::Deleted,
            key,
            count: last.count,
            ready: last.ready,
            before: None,
            version,
        })
    }
}

impl Told {
    fn parted(self) -> (Key, Known, Option<String>) {
        let known = Known {
            count: self.replica_count,
            ready: self.ready_replicas,
        };
        ((self.namespace, self.name), known, self.resource_version)
    }
}

/// Why a connection's part has ended.
enum Ended {
    ByServer,
    Enough,
}

/// Whether it may go better the next time.
fn passes(failed: &Failed) -> bool {
    matches!(failed.code, Code::Away | Code::Late)
}

fn understood<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, Failed> {
    serde_json::from_str(data).map_err(|error| {
        Failed::new(
            Code::Failed,
            format!("failed to understand an event of the server: {error}; see that it is headcount, of a version that this client knows"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching(names: &[(&str, &str)]) -> Watching {
        Watching {
            path: String::new(),
            names: names
                .iter()
                .map(|(namespace, name)| ((*namespace).into(), (*name).into()))
                .collect(),
            once: false,
            known: None,
            shown: Shown::Names,
            events: Events::default(),
            pause: FIRST_PAUSE,
        }
    }

    fn told(name: &str, count: i64) -> Told {
        Told {
            namespace: "web".into(),
            name: name.into(),
            replica_count: count,
            ready_replicas: None,
            resource_version: Some("7".into()),
        }
    }

    fn said(changes: impl IntoIterator<Item = Change>) -> Vec<String> {
        let said = changes.into_iter().map(|c| {
            let before = c.before.map(|b| format!(" before {b}")).unwrap_or_default();
            format!("{} {} {}{before}", c.what.name(), c.key.1, c.count)
        });
        said.collect()
    }

    #[test]
    fn a_snapshot_in_the_middle_says_what_it_changes_of_what_was_known() {
        let mut watching = watching(&[]);
        let first = watching.replace(vec![told("a", 1), told("b", 2), told("c", 3)]);
        assert_eq!(said(first), ["listed a 1", "listed b 2", "listed c 3"]);
        let second = watching.replace(vec![told("a", 1), told("c", 4), told("d", 5)]);
        assert_eq!(
            said(second),
            ["deleted b 2", "changed c 4 before 3", "added d 5"]
        );
        assert_eq!(said(watching.replace(vec![])).len(), 3);
        assert_eq!(said(watching.replace(vec![])), [""; 0]);
    }

    #[test]
    fn an_event_that_comes_twice_is_shown_once() {
        let mut watching = watching(&[]);
        watching.replace(vec![told("a", 1)]);
        assert_eq!(said(watching.set(told("a", 1))), [""; 0]);
        assert_eq!(said(watching.set(told("a", 2))), ["changed a 2 before 1"]);
        assert_eq!(said(watching.set(told("b", 2))), ["added b 2"]);
        assert_eq!(said(watching.set(told("b", 2))), [""; 0]);
        assert_eq!(said(watching.delete(told("b", 2))), ["deleted b 2"]);
        assert_eq!(said(watching.delete(told("b", 2))), [""; 0]);
        // Another one is ready, where that is shown.
        let ready = |n| Told {
            ready_replicas: Some(n),
            ..told("a", 2)
        };
        watching.set(ready(0));
        assert_eq!(said(watching.set(ready(1))), ["changed a 2 before 2"]);
        assert_eq!(said(watching.set(ready(1))), [""; 0]);
    }

    #[test]
    fn of_those_that_are_named_nobody_else_is_shown() {
        let mut watching = watching(&[("web", "a"), ("web", "z"), ("jobs", "b")]);
        let first = watching.replace(vec![told("a", 1), told("b", 2)]);
        assert_eq!(said(first), ["listed a 1"]);
        assert_eq!(said(watching.set(told("b", 3))), [""; 0]);
        assert_eq!(said(watching.delete(told("b", 3))), [""; 0]);
        assert_eq!(said(watching.set(told("z", 3))), ["added z 3"]);
        assert_eq!(watching.missing(), [&("jobs".to_owned(), "b".to_owned())]);
    }
}
