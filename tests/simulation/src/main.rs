//! Runs schedules on demand: many of them, or one again with all that happens.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use headcount::telemetry::log::{self, LogSettings, Severity};
use simulation::{Schedule, Trace, run, search};

/// Drives headcount's informer through random schedules of changes and faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seeds to run, the last one excluded.
    #[arg(long, value_name = "FROM..TO", default_value = "0..10000", value_parser = range)]
    seeds: std::ops::Range<u64>,
    /// Stops after so many schedules that went wrong.
    #[arg(long, value_name = "N", default_value_t = 1)]
    enough: usize,
    /// Says of what went wrong only what it was.
    #[arg(long)]
    brief: bool,
    /// Runs the schedule of this seed alone, and prints it, its trace and the informer's log.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "enough", "brief"])]
    seed: Option<u64>,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("it is no range, which looks like 0..10000")?;
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("{text:?} is no number from 0 on"))
    };
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    match act(Arguments::parse()) {
        Ok(code) => code,
        // Whoever read the output has gone.
        Err(_) => ExitCode::FAILURE,
    }
}

fn act(arguments: Arguments) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if let Some(seed) = arguments.seed {
        let schedule = Schedule::of(seed);
        writeln!(out, "seed {seed}: {:?}", schedule.setup)?;
        for step in &schedule.steps {
            writeln!(out, "  {step}")?;
        }
        drop(out);
        // The log goes to stderr as it comes, the trace to stdout at the end.
        let log = LogSettings {
            levels: Severity::Debug.into(),
            ..LogSettings::default()
        };
        log::start(&log).map_err(io::Error::other)?;
        let outcome = run(&schedule, Trace::Yes);
        log::flush();
        let mut out = io::stdout().lock();
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
        return match outcome.wrong {
            None => writeln!(out, "nothing was wrong").map(|()| ExitCode::SUCCESS),
            Some(wrong) => writeln!(out, "{wrong}").map(|()| ExitCode::FAILURE),
        };
    }
    drop(out);
    let start = Instant::now();
    let searched = search(arguments.seeds, arguments.enough, |done| {
        let seconds = start.elapsed().as_secs();
        let _ = writeln!(io::stderr(), "{done} schedules after {seconds} s");
    });
    let mut out = io::stdout().lock();
    for found in &searched.found {
        if arguments.brief {
            writeln!(out, "seed {}: {}", found.seed, found.wrong)?;
        } else {
            writeln!(out, "{found}")?;
        }
    }
    writeln!(
        out,
        "{} schedules in {:.1} s, {} wrong; at most {} lists and watches of a scope within 10 s",
        searched.runs,
        start.elapsed().as_secs_f64(),
        searched.found.len(),
        searched.busiest
    )?;
    Ok(if searched.found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
