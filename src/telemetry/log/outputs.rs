//! The process's outputs of log lines: started once, told of other levels, flushed before the end.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tracing_subscriber::{Layer as _, Registry, layer::SubscriberExt as _, reload};

use super::{
    FileError, Levels, Lines, LogSettings,
    file::LogFile,
    log_panic,
    queue::{Output, Queue, RecordIds},
};

/// How long an end waits for lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// What this process logs to.
static STARTED: OnceLock<Started> = OnceLock::new();

struct Started {
    levels: reload::Handle<Levels, Registry>,
    queues: Arc<[Queue]>,
}

/// Why nothing can be logged as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A thread that writes lines.
    #[error("failed to start a thread: {0}")]
    Thread(#[from] io::Error),
    /// It is too late.
    #[error("logging was started before")]
    Again,
}

/// Sends all log lines of this process, panics included, to where the settings say.
///
/// # Errors
///
/// When the file can't be opened, or logging was started before.
pub fn start(settings: &LogSettings) -> Result<(), StartError> {
    let mut queues = Vec::new();
    if settings.stderr {
        queues.push(Queue::to(Output::Stderr, settings.format)?);
    }
    if let Some(file) = &settings.file {
        let file = LogFile::open(file.clone())?;
        let output = Output::File(file, RecordIds::of_this_process());
        queues.push(Queue::to(output, settings.format)?);
    }
    let queues: Arc<[Queue]> = queues.into();
    let (filter, levels) = reload::Layer::new(settings.levels.clone());
    let to = Arc::clone(&queues);
    let lines = Lines {
        format: settings.format,
        output: move |line: &str| {
            let line = Arc::from(line);
            to.iter().for_each(|queue| queue.put(&line));
        },
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::Again)?;
    STARTED
        .set(Started { levels, queues })
        .map_err(|_| StartError::Again)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Has this process log by other levels from now on; whether they are others.
pub fn apply(levels: &Levels) -> bool {
    let Some(started) = STARTED.get() else {
        return false;
    };
    let same = started.levels.with_current(|now| now == levels);
    // The filter is as old as the process, so that it can't be gone.
    same.is_ok_and(|same| !same) && started.levels.reload(levels.clone()).is_ok()
}

/// Waits until what was logged is written, for a second at most.
pub fn flush() {
    let deadline = Instant::now() + FLUSH;
    let queues = STARTED.get().map(|started| started.queues.iter());
    queues
        .into_iter()
        .flatten()
        .for_each(|queue| queue.flush(deadline));
}
