//! `make bench`: headcount, the Go peer and the ceiling, measured in turn in one run, on a real control plane and, where more
//! or faster is needed than one can do, on a simulated one.

mod driver;
mod error;
mod figures;
mod machine;
mod measure;
mod proc;
mod server;
mod simulated;
mod sizes;
mod watchers;

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use controlplane::{ControlPlane, Options};

use error::Error;
use figures::Figures;
use measure::Bench;
use server::Place;
use sizes::Sizes;

/// Measures headcount, a Go server of the same calls and the ceiling of its libraries in turn, and prints a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Fewer rounds and Deployments: under three minutes once everything is built
    #[arg(long)]
    quick: bool,
    /// Measure only this; repeatable
    #[arg(long, value_enum, value_name = "FIGURE")]
    only: Vec<Group>,
    /// Rounds of everything
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: Option<u8>,
    /// Write the table to this file [default: docs/performance.md, for a whole run]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Start to ready on an empty cluster
    Ready,
    /// One count over HTTP/1.1 and HTTP/2, and handshakes
    Read,
    /// The whole list
    List,
    /// First syncs and memory
    Sync,
    /// Peak memory when everything is listed again
    Relist,
    /// Changes at the API server until they show
    Change,
    /// Writes against direct patches
    Write,
    /// Memory of idle connections
    Idle,
    /// Memory on simulated clusters
    Memory,
    /// Events applied
    Event,
    /// Deliveries to watchers, and their memory
    Watch,
}

impl Arguments {
    fn wants(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }
}

/// What begins the part of the page that is written by hand.
const EXPLANATIONS: &str = "## What is missed, and why";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Progress, on stderr.
pub(crate) fn say(what: &str) {
    let now = jiff::Timestamp::now().strftime("%H:%M:%S");
    let _ = writeln!(std::io::stderr(), "{now} {what}");
}

async fn run(arguments: &Arguments) -> Result<(), Error> {
    say("building what is measured");
    let programs = machine::build()?;
    // Now: the tree may have changed by the time that the page is written.
    let conditions = machine::conditions().await?;
    let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
    let certificates = headcount::pki::write_demo(&folder.path().join("certificates"))
        .map_err(|error| Error::Unexpected(error.to_string()))?;
    let place = Place {
        programs,
        certificates,
        folder: folder.path().to_owned(),
    };
    let mut sizes = if arguments.quick {
        Sizes::QUICK
    } else {
        Sizes::FULL
    };
    if let Some(rounds) = arguments.rounds {
        sizes.rounds = rounds.into();
    }
    let mut figures = Figures::default();
    let outcome = measure(arguments, &place, sizes, &mut figures).await;
    // What was measured before something failed is worth showing.
    let table = figures.table();
    let _ = writeln!(std::io::stdout(), "{table}");
    outcome?;
    for title in figures.missed() {
        say(&format!("MISSED: {title}"));
    }
    let whole = !arguments.quick && arguments.only.is_empty();
    let usual = whole.then(|| machine::root().join("docs/performance.md"));
    if let Some(file) = arguments.output.clone().or(usual) {
        write(&file, &conditions, &table, sizes.rounds)?;
        say(&format!("written to {}", file.display()));
    }
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    place: &Place,
    sizes: Sizes,
    figures: &mut Figures,
) -> Result<(), Error> {
    let real = [
        Group::Ready,
        Group::Read,
        Group::List,
        Group::Sync,
        Group::Relist,
        Group::Change,
        Group::Write,
        Group::Idle,
    ];
    if real.into_iter().any(|group| arguments.wants(group)) {
        on_real_cluster(arguments, place, sizes, figures).await?;
    }
    let wanted = simulated::Wanted {
        memory: arguments.wants(Group::Memory),
        events: arguments.wants(Group::Event),
    };
    if wanted.memory || wanted.events {
        for &n in sizes.simulated {
            simulated::run(place, &sizes, figures, n, wanted).await?;
        }
    }
    if arguments.wants(Group::Watch) {
        watchers::run(place, &sizes, figures).await?;
    }
    Ok(())
}

async fn on_real_cluster(
    arguments: &Arguments,
    place: &Place,
    sizes: Sizes,
    figures: &mut Figures,
) -> Result<(), Error> {
    say("starting a real control plane");
    let cluster = ControlPlane::start(Options::default()).await?;
    let mut bench = Bench {
        place,
        sizes,
        cluster: &cluster,
        figures,
        held: 0,
    };
    if arguments.wants(Group::Ready) {
        bench.ready()?;
    }
    let mut stages = [sizes.lists, &[sizes.busy]].concat();
    stages.sort_unstable();
    stages.dedup();
    let largest = stages.last().copied();
    for n in stages {
        let lists = arguments.wants(Group::List) && sizes.lists.contains(&n);
        let syncs = arguments.wants(Group::Sync);
        let relists = arguments.wants(Group::Relist) && Some(n) == largest;
        let busy = n == sizes.busy
            && [Group::Read, Group::Idle, Group::Change, Group::Write]
                .into_iter()
                .any(|group| arguments.wants(group));
        if !(lists || syncs || relists || busy) {
            continue;
        }
        bench.grow(n).await?;
        if syncs {
            bench.sync().await?;
        }
        if lists {
            bench.lists()?;
        }
        if n == sizes.busy {
            if arguments.wants(Group::Read) {
                bench.reads()?;
            }
            if arguments.wants(Group::Change) {
                bench.changes()?;
            }
            if arguments.wants(Group::Write) {
                bench.writes()?;
            }
            if arguments.wants(Group::Idle) {
                bench.idle()?;
            }
        }
        if relists {
            bench.relist().await?;
        }
    }
    Ok(())
}

fn write(file: &Path, conditions: &str, table: &str, rounds: usize) -> Result<(), Error> {
    let given: Vec<_> = env::args().skip(1).collect();
    let command = if given.is_empty() {
        "make bench".to_owned()
    } else {
        format!("make bench ARGS='{}'", given.join(" "))
    };
    let explained = explanations(file);
    let content = format!(
        "# Performance

What `{command}` printed. It starts a real control plane, fills it, and measures headcount, a Go server of the same calls
(`bench/go/peer.go`) and the ceiling (`bench/ceiling`: the same libraries, one constant body) in turn, {rounds} rounds of each.

{conditions}
Medians of the rounds; *of peer* and *of limit* are medians of each round's ratio, *spread* is headcount's least and most. The
limit is the ceiling, unless the row says what else. Servers and drivers share the cores, so ratios and CPU time say more than
latencies do. CPU time is the scheduler's (`/proc/PID/task/*/schedstat`), memory is VmRSS and VmHWM in MB of 10⁶ bytes.

{table}{explained}"
    );
    fs::write(file, content).map_err(Error::file(file))
}

/// The part of the file that people write: it survives the next run.
fn explanations(file: &Path) -> String {
    let old = fs::read_to_string(file).unwrap_or_default();
    let part = old.find(EXPLANATIONS).map(|start| &old[start..]);
    part.map(|part| format!("\n{part}")).unwrap_or_default()
}
