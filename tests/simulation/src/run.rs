//! One run: a simulated cluster, the informer that the server runs, and a schedule, on virtual time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use headcount::{
    kubernetes::{Informer, InformerStatus, Managed},
    store::{LabelKeys, Store},
    telemetry::metrics::Metrics,
};
use simkube::{Cluster, Fault, On, Options, Rule, RuleId};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    network::{self, Asked, Shared, lock},
    observer::Observer,
    schedule::{Action, Place, SELECTOR, Schedule, creation},
};

/// How often health is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the copy may take to be the cluster once all faults have ended.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long, where objects couldn't be read several times: lists that are to make it good come less and less often.
const READ_AGAIN: Duration = Duration::from_secs(400);
/// How long it is watched after that.
const QUIET: Duration = Duration::from_secs(12);
/// The time in which requests are counted, and how many there may be.
const WINDOW: Duration = Duration::from_secs(10);
const LISTS_AND_WATCHES: usize = 40;
const PROBES: usize = 9;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was wrong, if anything was: the first thing.
    pub wrong: Option<String>,
    /// All that happened, line by line, if that was asked for.
    pub trace: Vec<String>,
    /// How many lists and watches were begun, at most, within ten seconds and one scope.
    pub busiest: usize,
}

/// Whether a run keeps a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// It doesn't, which is faster.
    No,
    /// It does.
    Yes,
}

/// Runs a schedule; the same one has the same outcome, every time.
///
/// # Panics
///
/// When there is no runtime to be had: the system is out of memory or file descriptors.
pub fn run(schedule: &Schedule, trace: Trace) -> Outcome {
    // The informer's jitter comes from this thread's generator.
    fastrand::seed(schedule.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs memory only");
    runtime.block_on(async {
        let mut run = Run::start(schedule, trace == Trace::Yes);
        run.play(schedule).await;
        run.end().await
    })
}

pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) status: Arc<InformerStatus>,
    pub(crate) observer: Shared,
    labels: watch::Sender<Arc<LabelKeys>>,
    scopes: usize,
    /// How many lists were caused after the end.
    relists: u32,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    slots: BTreeMap<u8, Vec<RuleId>>,
    /// Faults that happen a few times.
    few: Vec<RuleId>,
    pub(crate) backup: Option<simkube::Snapshot>,
    /// What was written last: where, and at which version.
    pub(crate) written: Option<(Place, u64)>,
}

impl Run {
    fn start(schedule: &Schedule, traced: bool) -> Self {
        let setup = &schedule.setup;
        let options = Options::default()
            .seed(schedule.seed)
            .history(setup.history)
            .managed_fields(0);
        let cluster = Cluster::new(options);
        let managed = Managed {
            namespaces: setup.namespaces.clone(),
            label_selector: setup.selector.then(|| SELECTOR.to_owned()),
        };
        let store = Arc::new(Store::new(&managed.namespaces));
        let scopes = store.scopes().len();
        let status = Arc::new(InformerStatus::new(store));
        let observer = Observer::new(setup, &cluster, &status, traced);
        let observer = Arc::new(std::sync::Mutex::new(observer));
        let labels = watch::Sender::new(Arc::default());
        let client = network::client(
            cluster.service(),
            &observer,
            setup.page,
            setup.pieces,
            schedule.seed,
        );
        let mut run = Self {
            cluster,
            status,
            observer,
            labels,
            scopes,
            relists: 0,
            tasks: Vec::new(),
            slots: BTreeMap::new(),
            few: Vec::new(),
            backup: None,
            written: None,
        };
        let mut rng = Rng::with_seed(schedule.seed);
        for _ in 0..setup.deployments {
            run.act(&creation(&mut rng));
        }
        let metrics = Metrics::default();
        let informer = Informer::new(
            client,
            managed,
            run.labels.subscribe(),
            Arc::clone(&run.status),
            Arc::clone(&metrics.informer),
        );
        run.tasks.push(tokio::spawn(informer.run()));
        run
    }

    async fn play(&mut self, schedule: &Schedule) {
        for step in &schedule.steps {
            self.pass(step.after).await;
            if lock(&self.observer).wrong.is_some() {
                return;
            }
            lock(&self.observer).note(|| format!("{step}"));
            self.act(&step.action);
            self.judge_faults();
            lock(&self.observer).look();
        }
    }

    /// Lets time pass, and looks at health meanwhile.
    async fn pass(&self, time: Duration) {
        let mut left = time;
        while left > Duration::ZERO {
            let slice = left.min(LOOK);
            sleep(slice).await;
            left -= slice;
            lock(&self.observer).judge_health();
        }
    }

    /// Ends all faults, waits until the copy is the cluster, and then for a while.
    async fn end(mut self) -> Outcome {
        for slot in self.slots.keys().copied().collect::<Vec<_>>() {
            self.lift(slot);
        }
        for rule in self.few.drain(..) {
            self.cluster.faults().retire(rule);
        }
        self.judge_faults();
        {
            let mut observer = lock(&self.observer);
            observer.look();
            observer.note(|| "all faults have ended".into());
        }
        self.settle(RECOVERY).await;
        // And it really follows.
        self.act(&Action::Create {
            at: Place("web", 99),
            count: Some(7),
            labels: vec![("team", "web")],
            finalizer: false,
        });
        self.pass(QUIET).await;
        self.settle(RECOVERY).await;
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let mut observer = lock(&self.observer);
        let kinds = [Asked::List, Asked::Watch];
        let busiest = observer.traffic.most_within(WINDOW, &kinds) / self.scopes;
        let probes = observer.traffic.most_within(WINDOW, &[Asked::Probe]);
        if busiest > LISTS_AND_WATCHES || probes > PROBES {
            observer.fail(format!(
                "too many requests within {WINDOW:?}: {busiest} lists and watches for a scope, {probes} probes"
            ));
        }
        Outcome {
            wrong: observer.wrong.take(),
            trace: observer.take_trace(),
            busiest,
        }
    }

    /// Waits until the copy is the cluster and health says so.
    async fn settle(&mut self, within: Duration) {
        let mut start = Instant::now();
        let mut missed = 0;
        loop {
            let (settled, misses, incomplete) = {
                let mut observer = lock(&self.observer);
                if observer.wrong.is_some() {
                    return;
                }
                let settled = observer.settled();
                (settled, observer.misses(), observer.is_incomplete())
            };
            let within = if incomplete { READ_AGAIN } else { within };
            match settled {
                Ok(()) => return lock(&self.observer).note(|| "settled".into()),
                // Nobody can know that an event never came; another list shows it, and new labels cause one.
                Err(_) if misses > missed => {
                    missed = misses;
                    start = Instant::now();
                    let keys: LabelKeys = lock(&self.observer)
                        .wanted
                        .iter()
                        .map(str::to_owned)
                        .chain([format!("label-{}", self.relists)])
                        .collect();
                    self.relists += 1;
                    lock(&self.observer).note(|| "everything is listed once more".into());
                    self.want(keys);
                }
                Err(why) if start.elapsed() >= within => {
                    let why = format!("not settled {within:?} after the last fault: {why}");
                    return lock(&self.observer).fail(why);
                }
                Err(_) => {}
            }
            self.pass(LOOK / 5).await;
        }
    }

    fn want(&mut self, keys: LabelKeys) {
        let keys = Arc::new(keys);
        lock(&self.observer).wanted = Arc::clone(&keys);
        self.labels.send_replace(keys);
    }

    /// What is true of the faults that are at work now.
    fn judge_faults(&mut self) {
        let faults = self.cluster.faults();
        let mut observer = lock(&self.observer);
        let now = Instant::now();
        let works = self.slots.is_empty() && self.few.iter().all(|rule| faults.is_spent(*rule));
        observer.well = if works {
            observer.well.or(Some(now))
        } else {
            None
        };
    }

    fn add(&self, on: On, fault: Fault, times: Option<u64>) -> RuleId {
        let rule = Rule::new(on, fault);
        self.cluster.faults().add(match times {
            Some(times) => rule.times(times),
            None => rule,
        })
    }

    fn lift(&mut self, slot: u8) {
        let Some(rules) = self.slots.remove(&slot) else {
            return;
        };
        for rule in rules {
            self.cluster.faults().remove(rule);
        }
        let mut observer = lock(&self.observer);
        if observer.down.is_some_and(|(by, _)| by == slot) {
            observer.down = None;
        }
        observer.traffic.resume(slot);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Lift(slot) => self.lift(*slot),
            Action::Lasting(slot, on, fault) => {
                let rule = self.add(*on, fault.clone(), None);
                self.fill(*slot, rule);
                if *on == On::Any {
                    let mut observer = lock(&self.observer);
                    observer.down.get_or_insert((*slot, Instant::now()));
                    if *fault == Fault::Hang {
                        observer.traffic.stall(*slot);
                    }
                }
            }
            Action::StaleReplica(slot, lag) => {
                let at = self.cluster.resource_version().saturating_sub(*lag);
                let rule = self.add(On::Any, Fault::Stale { at }, None);
                self.fill(*slot, rule);
            }
            Action::Stall(slot) => {
                let rule = self.add(On::OpenWatches, Fault::Hang, None);
                self.fill(*slot, rule);
                lock(&self.observer).traffic.stall(*slot);
            }
            Action::Restart(slot) => {
                self.cut(Fault::Break);
                let rule = self.add(On::Any, Fault::Refuse, None);
                self.fill(*slot, rule);
                self.cluster.compact();
                lock(&self.observer)
                    .down
                    .get_or_insert((*slot, Instant::now()));
            }
            Action::Few(on, fault, times) => {
                let rule = self.add(*on, fault.clone(), Some(*times));
                self.few.push(rule);
            }
            Action::Behind(on, lag, times) => {
                let at = self.cluster.resource_version().saturating_sub(*lag);
                let rule = self.add(*on, Fault::Behind { at }, Some(*times));
                self.few.push(rule);
            }
            Action::Cut(fault) => self.cut(fault.clone()),
            Action::Backup => self.backup = Some(self.cluster.snapshot()),
            Action::Restore => self.restore(),
            Action::HalfOpen => {
                self.cut(Fault::Hang);
                lock(&self.observer).traffic.die();
            }
            Action::Compact => self.cluster.compact(),
            Action::ExpireTokens => self.cluster.expire_continue_tokens(),
            Action::WantLabels(keys) => {
                self.want(keys.iter().copied().collect());
            }
            Action::Await(time) => self.wait(*time),
            _ => self.write(action),
        }
    }

    fn fill(&mut self, slot: u8, rule: RuleId) {
        self.slots.entry(slot).or_default().push(rule);
    }

    /// Rules on open watches may stay: they concern no later one.
    fn cut(&self, fault: Fault) {
        self.add(On::OpenWatches, fault, None);
    }
}
