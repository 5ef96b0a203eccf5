//! Reload without restart: notices that a file's content changed, and puts all of it in force as one generation, or nothing.
//!
//! Content decides, not time stamps: a set is read twice and taken when both are the same, so that files which are being
//! swapped (as a kubelet swaps a volume's `..data`) are never mixed. Folders are watched, and looked at anyway.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    access::{KubernetesNames, Reviewer, Rules},
    config::{Config, ConfigError, deprecated},
    generation::{Generation, Generations},
    kubernetes::{AccessReviews, InformerStatus},
    limits::Limiter,
    store::Snapshot,
    telemetry::{log, metrics::Metrics},
    tls::{TlsConfig, TlsError, TlsMaterial},
};

/// How often files are looked at when nothing says that they changed.
const LOOK: Duration = Duration::from_secs(2);
/// How long a change is given to become whole, from the first sign of it.
const SETTLE: Duration = Duration::from_millis(50);
/// How long a generation waits for labels that its rules look at and that weren't read before.
const LABELS: Duration = Duration::from_secs(1);
/// How often a set is read that changes while it is being read, before it is left to the next look.
const READS: usize = 4;

/// A set of files that can't be put in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate, key, CA, revocation list or deny list.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What all generations have in common: how the cluster is asked, where that decides who may do what, and what limits are
/// counted by.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) reviews: AccessReviews,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limiter: Arc<Limiter>,
}

impl Cluster {
    fn reviewer(&self, names: &KubernetesNames) -> Reviewer {
        let metrics = Arc::clone(&self.metrics.reviews);
        Reviewer::new(self.reviews.clone(), names.clone(), metrics)
    }
}

/// All files that a generation is made of, as they were at one time.
pub(crate) struct Files {
    config: Config,
    tls: TlsMaterial,
    hash: [u8; 32],
}

impl Files {
    /// Reads all files that `config` names, and its own.
    pub(crate) fn read(config: &Config) -> Result<Self, ReloadError> {
        let text = config.source.text()?;
        let config = config.with_text(text.as_deref())?;
        let tls = config.tls.read()?;
        let mut context = Context::new(&SHA256);
        context.update(&(text.iter().map(String::len).sum::<usize>() as u64).to_be_bytes());
        context.update(text.unwrap_or_default().as_bytes());
        tls.add_to(&mut context);
        let hash = finished(context);
        Ok(Self { config, tls, hash })
    }

    /// What of them handshakes are made with: nothing else in them can be wrong.
    pub(crate) fn tls(&self) -> Result<TlsConfig, ReloadError> {
        Ok(self.tls.build(&self.config.tls_settings)?)
    }

    /// A generation of these files, not in force yet.
    pub(crate) fn generation(&self, number: u64, tls: TlsConfig, cluster: &Cluster) -> Generation {
        let TlsConfig {
            server,
            verifier,
            expiries,
        } = tls;
        let limits = Arc::new(self.config.limits.clone());
        let rules = Rules {
            limits: Arc::clone(&limits),
            ..Rules::new(
                self.config.writes,
                self.config.authorization.clone(),
                |names| cluster.reviewer(names),
            )
        };
        Generation {
            number,
            tls: server,
            verifier,
            expiries,
            identity: self.config.identity.clone(),
            rules: Arc::new(rules),
            limits,
            limiter: Arc::clone(&cluster.limiter),
        }
    }
}

fn finished(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// How the last reload went, for `/readyz?verbose`.
#[derive(Debug, Default)]
pub struct ReloadStatus(Mutex<Option<(SystemTime, String)>>);

impl ReloadStatus {
    /// Since when the files as they are can't be put in force, and why; `None` while those in force are the files' own.
    pub fn failing(&self) -> Option<(SystemTime, String)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, failing: Option<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = failing.map(|why| (SystemTime::now(), why));
    }
}

/// What one look at the files found.
enum Look {
    /// They are what is in force.
    Same,
    /// They are what was refused before.
    RefusedBefore,
    /// They changed while they were read.
    Changing,
    Next(Box<Files>, Box<Generation>),
    Refused([u8; 32], ReloadError),
}

/// Looks at the files for as long as the server runs.
pub(crate) struct Reloader {
    /// What only a start puts in force is as it was then.
    started_with: Config,
    config: Config,
    in_force: [u8; 32],
    refused: Option<[u8; 32]>,
    generations: Arc<Generations>,
    informer: Arc<InformerStatus>,
    status: Arc<ReloadStatus>,
    cluster: Cluster,
}

impl Reloader {
    /// Goes on from the files of the first generation.
    pub(crate) fn new(
        first: Files,
        generations: Arc<Generations>,
        informer: Arc<InformerStatus>,
        status: Arc<ReloadStatus>,
        cluster: Cluster,
    ) -> Self {
        Self {
            started_with: first.config.clone(),
            config: first.config,
            in_force: first.hash,
            refused: None,
            generations,
            informer,
            status,
            cluster,
        }
    }

    /// Never ends.
    pub(crate) async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        let mut _watcher = watch_folders(&self.config, &changed);
        loop {
            self.warn_of_expiry();
            if timeout(LOOK, changed.notified()).await.is_ok() {
                sleep(SETTLE).await;
            }
            if self.look().await {
                _watcher = watch_folders(&self.config, &changed);
            }
        }
    }

    /// On its own, so that no generation is held while nothing happens.
    fn warn_of_expiry(&self) {
        let expiries = &self.generations.current().expiries;
        let now = SystemTime::now();
        self.cluster.metrics.expiry.warn(expiries, now);
    }

    /// Puts the files in force if they changed and can be; whether it did.
    async fn look(&mut self) -> bool {
        let (config, in_force, refused) = (self.config.clone(), self.in_force, self.refused);
        let number = self.generations.number() + 1;
        let cluster = self.cluster.clone();
        let look = aside(move || look(&config, in_force, refused, number, &cluster)).await;
        match look {
            Ok(Look::Same) => {
                if self.refused.take().is_some() {
                    self.status.set(None);
                    self.cluster.metrics.in_force();
                    info!(name: "reload.withdrawn", "the files are again what is in force");
                }
                false
            }
            Ok(Look::RefusedBefore | Look::Changing) => false,
            Ok(Look::Next(files, generation)) => {
                self.apply(*files, *generation).await;
                true
            }
            Ok(Look::Refused(hash, error)) => {
                self.refuse(hash, &error.to_string());
                false
            }
            Err(panic) => {
                self.refuse(
                    [0; 32],
                    &format!("this server failed to read them: {panic}"),
                );
                false
            }
        }
    }

    async fn apply(&mut self, files: Files, generation: Generation) {
        let keys = &generation.rules.labels;
        self.generations.want_labels(keys);
        // Without them whoever is judged by labels would get 503 until they are known.
        let known = |now: &Snapshot| !now.synced() || now.has_labels_everywhere(keys);
        let deadline = Instant::now() + LABELS;
        self.informer.wait_until(deadline, known).await;
        let Files { config, hash, .. } = files;
        let waiting = self.started_with.waits_for_restart(&config);
        if !waiting.is_empty() && waiting != self.started_with.waits_for_restart(&self.config) {
            warn!(name: "reload.restart.needed", settings = waiting.join(", "), "changed settings take effect with the next start only");
        }
        if config.deprecated != self.config.deprecated {
            deprecated::warn_of(&config.deprecated);
        }
        let number = generation.number;
        self.generations.replace(generation);
        (self.config, self.in_force, self.refused) = (config, hash, None);
        self.status.set(None);
        self.cluster.metrics.reloaded();
        let levels = &self.config.log.levels;
        if log::apply(levels) {
            info!(name: "log.levels.applied", levels = levels.shown(), "log lines have other levels from now on");
        }
        info!(name: "reload.applied", generation = number, "changed files are in force");
    }

    fn refuse(&mut self, hash: [u8; 32], why: &str) {
        self.refused = Some(hash);
        self.status.set(Some(why.to_owned()));
        self.cluster.metrics.reload_failed();
        warn!(name: "reload.failed", error = why, generation = self.generations.number(),
            "changed files can't be put in force: what was in force before them stays");
    }
}

/// Reading and parsing have a thread of their own: neither do requests wait for it, nor it for what requests need threads for.
async fn aside(work: impl FnOnce() -> Look + Send + 'static) -> Result<Look, String> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("reload".into())
        .spawn(move || drop(tell.send(work())))
        .map_err(|error| error.to_string())?;
    told.await.map_err(|_| "its thread panicked".into())
}

/// Reads until two readings are the same, and makes a generation of them if they are news.
fn look(
    config: &Config,
    in_force: [u8; 32],
    refused: Option<[u8; 32]>,
    number: u64,
    cluster: &Cluster,
) -> Look {
    let mut before = None;
    for _ in 0..READS {
        let read = Files::read(config);
        let hash = match &read {
            Ok(files) => files.hash,
            Err(error) => {
                let mut context = Context::new(&SHA256);
                context.update(error.to_string().as_bytes());
                finished(context)
            }
        };
        if hash == in_force {
            return Look::Same;
        }
        if refused == Some(hash) {
            return Look::RefusedBefore;
        }
        if before == Some(hash) {
            let made =
                read.and_then(|files| Ok((files.generation(number, files.tls()?, cluster), files)));
            return match made {
                Ok((generation, files)) => Look::Next(Box::new(files), Box::new(generation)),
                Err(error) => Look::Refused(hash, error),
            };
        }
        before = Some(hash);
    }
    Look::Changing
}

/// Tells `changed` of every change in the folders of the configuration's files, until it is dropped.
fn watch_folders(config: &Config, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let tell = Arc::clone(changed);
    let told = move |event: notify::Result<notify::Event>| {
        // Reading files is an event too, and ours.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            tell.notify_one();
        }
    };
    let folder = |file: &Path| match file.parent()? {
        here if here.as_os_str().is_empty() => Some(PathBuf::from(".")),
        folder => Some(folder.to_owned()),
    };
    let folders: BTreeSet<PathBuf> = config.files().into_iter().filter_map(folder).collect();
    let watching = notify::recommended_watcher(told).and_then(|mut watcher| {
        for folder in &folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    watching
        .inspect_err(|error| warn!(name: "reload.watch.failed", error = %error, "failed to watch the files' folders: changes are seen within {} s", LOOK.as_secs()))
        .ok()
}
