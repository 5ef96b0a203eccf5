//! The simulated cluster's own changes, each of which the model learns of.

use std::{collections::BTreeMap, time::Duration};

use headcount::store::{Annotation, AnnotationBounds};
use simkube::NewDeployment;
use tokio::time::Instant;

use crate::{
    history::{Item, Key},
    network::lock,
    run::Run,
    schedule::Action,
};

type Labels = BTreeMap<&'static str, &'static str>;

impl Run {
    /// Changes the cluster, unless it was restored to a version that readers are still ahead of: a restore that is overtaken
    /// by new versions before two probes have seen it can't be recognised by anybody.
    pub(crate) fn write(&mut self, action: &Action) {
        if lock(&self.observer).version() > self.cluster.resource_version() {
            lock(&self.observer).note(|| "not done: readers are ahead of the cluster".into());
            return;
        }
        let cluster = &self.cluster;
        let place = match action {
            Action::Advance(n) => return cluster.advance_version(*n),
            Action::Recreate(at, count) => {
                self.write(&Action::Delete(*at));
                return self.write(&Action::Create {
                    at: *at,
                    count: Some(*count),
                    labels: Vec::new(),
                    finalizer: false,
                });
            }
            Action::Create { at, .. }
            | Action::Scale(at, _)
            | Action::Touch(at)
            | Action::Label(at, _)
            | Action::Annotate(at, ..)
            | Action::Delete(at)
            | Action::Release(at) => *at,
            _ => return,
        };
        let (namespace, name) = (place.0, place.name());
        let key: Key = (namespace, name.clone());
        let (mut labels, mut bounds) = {
            let observer = lock(&self.observer);
            let item = observer.history.now(&key);
            item.map_or_else(Default::default, |i| (i.labels.clone(), i.bounds))
        };
        let version = match action {
            Action::Create {
                count,
                labels: given,
                finalizer,
                ..
            } => {
                labels = given.iter().copied().collect::<Labels>();
                bounds = AnnotationBounds::default();
                let mut new = NewDeployment::new(namespace, &name).replicas(*count);
                for (key, value) in given {
                    new = new.label(key, value);
                }
                if *finalizer {
                    new = new.finalizer("example.com/held");
                }
                cluster.create(new)
            }
            Action::Scale(_, count) => cluster.scale(namespace, &name, *count),
            Action::Touch(_) => cluster.touch_status(namespace, &name),
            Action::Label(_, given) => {
                labels = given.iter().copied().collect();
                cluster.set_labels(namespace, &name, given)
            }
            Action::Annotate(_, min, max, protected) => {
                bounds = bounds_of(*min, *max, *protected);
                let mut all = Vec::new();
                all.extend(min.map(|min| (Annotation::MinReplicas.key(), min)));
                all.extend(max.map(|max| (Annotation::MaxReplicas.key(), max)));
                if *protected {
                    all.push((Annotation::Protected.key(), "true"));
                }
                cluster.set_annotations(namespace, &name, &all)
            }
            Action::Delete(_) => cluster.delete(namespace, &name),
            _ => cluster.remove_finalizers(namespace, &name),
        };
        let Some(version) = version else { return };
        let item = cluster.deployment(namespace, &name).map(|d| Item {
            uid: d.uid.parse().unwrap_or_default(),
            count: d.replicas.unwrap_or(1),
            version: d.resource_version,
            deleting: d.deleting,
            labels,
            bounds,
        });
        self.written = Some((place, version));
        let mut observer = lock(&self.observer);
        observer.note(|| format!("cluster: version {version}"));
        observer.history.record(key, version, item);
    }

    /// Goes back to the backup. Lists that began before don't go on after it: a restore takes longer than they do.
    pub(crate) fn restore(&mut self) {
        let Some(backup) = &self.backup else { return };
        let (from, to) = (self.cluster.resource_version(), backup.resource_version());
        self.cluster.restore(backup);
        self.cluster.expire_continue_tokens();
        let mut observer = lock(&self.observer);
        observer.history.restore(from, to);
        observer.note(|| format!("cluster: from version {from} back to {to}"));
    }

    /// Somebody waits for what was written last, as a write's answer does.
    pub(crate) fn wait(&mut self, time: Duration) {
        let Some((place, version)) = self.written else {
            return;
        };
        let (status, observer) = (self.status.clone(), self.observer.clone());
        let number = lock(&observer).begin_wait();
        let task = tokio::spawn(async move {
            let deadline = Instant::now() + time;
            let there = |snapshot: &headcount::store::Snapshot| {
                snapshot.resource_version_in(place.0) >= version
            };
            let told = status.wait_until(deadline, there).await;
            let reached = there(&status.store().snapshot());
            let mut observer = lock(&observer);
            observer.look();
            observer.end_wait(number, || format!("waited for version {version}: {told}"));
            if told && !reached {
                observer.fail(format!(
                    "a wait for version {version} of {} ended before it was there",
                    place.0
                ));
            }
            if !told && Instant::now() < deadline {
                observer.fail(format!(
                    "a wait for version {version} of {} was given up before its deadline",
                    place.0
                ));
            }
        });
        self.tasks.push(task);
    }
}

fn bounds_of(
    min: Option<&'static str>,
    max: Option<&'static str>,
    protected: bool,
) -> AnnotationBounds {
    let number = |text: Option<&str>| text.and_then(|t| t.parse().ok());
    let malformed = |text: Option<&str>, which| text.filter(|t| *t == "two").map(|_| which);
    AnnotationBounds {
        min: number(min),
        max: number(max),
        protected,
        malformed: malformed(min, Annotation::MinReplicas)
            .or(malformed(max, Annotation::MaxReplicas)),
    }
}
