//! The gate: counts the instructions of every hot path and fails when one takes more than its baseline allows.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Mutex,
    thread,
};

use clap::Parser;
use instructions::{
    baseline::{Baseline, Tools, Verdict, percent},
    callgrind,
    paths::{self, Failure, Path},
};

#[derive(Parser)]
#[command(about = "Counts the instructions of the hot paths and compares them with the baseline")]
struct Arguments {
    /// Write what is counted as the new baseline
    #[arg(long)]
    bless: bool,
    /// Only these paths
    #[arg(value_name = "PATH", value_parser = one)]
    only: Vec<Path>,
    /// Run one path and count nothing: what valgrind is started with
    #[arg(long, value_name = "PATH", value_parser = one, hide = true)]
    run: Option<Path>,
    /// The baseline
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json"))]
    baseline: PathBuf,
    /// Keep callgrind's profiles in this folder, for callgrind_annotate
    #[arg(long, value_name = "FOLDER")]
    profiles: Option<PathBuf>,
}

fn one(name: &str) -> Result<Path, String> {
    let names = || paths::ALL.map(|path| path.name).join(", ");
    Path::of(name).ok_or_else(|| format!("the paths are {}", names()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.run {
        Some(path) => path.run().map(|()| true),
        None => gate(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the instruction gate failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts and compares; whether all is within the baseline.
fn gate(arguments: &Arguments) -> Result<bool, Failure> {
    let tools = Tools::here()?;
    let known = Baseline::read(&arguments.baseline)?;
    let wanted = match arguments.only.as_slice() {
        [] => paths::ALL.to_vec(),
        some => some.to_vec(),
    };
    let temporary = tempfile::tempdir()?;
    let folder = match &arguments.profiles {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.as_path()
        }
        None => temporary.path(),
    };
    let counted = count_all(&wanted, folder);
    let mut out = io::stdout().lock();
    if let Some(known) = &known {
        write!(out, "{}", tools.differences(&known.taken_with))?;
    }
    let empty = Baseline {
        taken_with: tools.clone(),
        instructions: BTreeMap::new(),
    };
    let mut next = known.clone().unwrap_or(empty);
    let (mut passed, mut failed) = (0, 0);
    for (path, counted) in wanted.iter().zip(counted) {
        let well = match counted {
            Ok(counted) => {
                let well = if arguments.bless {
                    writeln!(
                        out,
                        "ok     {}: {counted} instructions from now on",
                        path.name
                    )?;
                    true
                } else {
                    report(&mut out, *path, &next, counted)?
                };
                next.instructions.insert(path.name.into(), counted);
                well
            }
            Err(error) => {
                writeln!(out, "FAILED {}: {error}", path.name)?;
                false
            }
        };
        if well { passed += 1 } else { failed += 1 }
    }
    if arguments.bless && failed == 0 {
        next.taken_with = tools;
        next.instructions.retain(|name, _| Path::of(name).is_some());
        next.write(&arguments.baseline)?;
        writeln!(
            out,
            "the new baseline is in {}",
            arguments.baseline.display()
        )?;
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    writeln!(out, "test result: {word}. {passed} passed; {failed} failed")?;
    Ok(failed == 0)
}

/// Counts the paths, two at a time: other processes change no count.
fn count_all(wanted: &[Path], folder: &std::path::Path) -> Vec<Result<u64, Failure>> {
    let next = Mutex::new(wanted.iter().enumerate());
    let counted = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((i, path)) = next.lock().ok().and_then(|mut next| next.next()) else {
                        return;
                    };
                    let result = callgrind::count(*path, folder);
                    if let Ok(mut counted) = counted.lock() {
                        counted.push((i, result));
                    }
                }
            });
        }
    });
    let mut counted = counted.into_inner().unwrap_or_default();
    counted.sort_by_key(|(i, _)| *i);
    counted.into_iter().map(|(_, result)| result).collect()
}

/// One line about one path; whether it passes.
fn report(
    out: &mut impl io::Write,
    path: Path,
    known: &Baseline,
    counted: u64,
) -> io::Result<bool> {
    let Path { name, what, .. } = path;
    let before = known.instructions.get(name).copied().unwrap_or(0);
    let more = percent(before, counted);
    match known.judge(name, counted) {
        Verdict::Same => {
            writeln!(
                out,
                "ok     {name}: {counted} instructions, baseline {before} ({more:+.1} %): {what}"
            )?;
            Ok(true)
        }
        Verdict::Better => {
            writeln!(
                out,
                "ok     {name}: {counted} instructions, baseline {before} ({more:+.1} %): {what}\n       better by so much that the baseline should be lowered: .ci/gate --bless {name}"
            )?;
            Ok(true)
        }
        Verdict::Worse => {
            writeln!(
                out,
                "FAILED {name}: {counted} instructions, baseline {before} ({more:+.1} %): {what}\n       `.ci/gate --profiles FOLDER {name}` and `callgrind_annotate FOLDER/{name}.1` show where they go; \
                if they are worth it, accept them with `.ci/gate --bless {name}` and say why in the commit"
            )?;
            Ok(false)
        }
        Verdict::New => {
            writeln!(
                out,
                "FAILED {name}: {counted} instructions and no baseline: {what}\n       record one with `.ci/gate --bless {name}`"
            )?;
            Ok(false)
        }
    }
}
