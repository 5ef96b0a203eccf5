//! What has become of leases, judged by the cluster's past alone: each version that its Deployments and Lease objects had.

use std::collections::{BTreeMap, BTreeSet};

use headcount::leases::{Lease, State, Stored};
use jiff::Timestamp;
use serde_json::Value;

/// A version of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) version: u64,
    pub(super) count: i32,
    /// The field managers that own the count.
    pub(super) owners: BTreeSet<String>,
}

/// A version of a Deployment's Lease object; `None` once it is deleted.
pub(super) type OfLease = (u64, Option<Lease>);

/// A cluster's past, by the names of its Deployments.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) deployments: BTreeMap<String, Vec<Version>>,
    pub(super) leases: BTreeMap<String, Vec<OfLease>>,
}

/// What a holder was told: the count stays until then, unless somebody sets another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) name: String,
    pub(super) count: i32,
    /// `None` where the lease may be ended early.
    pub(super) until: Option<Timestamp>,
}

/// How often what happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) taken: usize,
    pub(super) returned: usize,
    pub(super) fenced: usize,
}

impl Past {
    /// Takes in what a watch of Deployments told, `ADDED`, `MODIFIED` and so on.
    pub(super) fn deployment(&mut self, event: &Value) {
        let Some((name, version, object)) = parts(event) else {
            return;
        };
        let managed = object["metadata"]["managedFields"].as_array();
        let owns = |one: &&Value| one["fieldsV1"]["f:spec"]["f:replicas"].is_object();
        let owners = managed.into_iter().flatten().filter(owns);
        let owners = owners.map(|one| one["manager"].as_str().unwrap().to_owned());
        let count = object["spec"]["replicas"].as_i64().unwrap_or(0);
        self.deployments.entry(name).or_default().push(Version {
            version,
            count: count.try_into().unwrap(),
            owners: owners.collect(),
        });
    }

    /// The same of Lease objects; an election's is none of a count.
    pub(super) fn lease(&mut self, event: &Value) {
        let Some((_, version, object)) = parts(event) else {
            return;
        };
        if object["metadata"]["labels"]["headcount/lease"] != "count" {
            return;
        }
        let lease = Stored::read(object).unwrap().lease;
        let versions = self.leases.entry(lease.name.clone()).or_default();
        let deleted = event["type"] == "DELETED";
        versions.push((version, (!deleted).then_some(lease)));
    }

    /// What should never have happened, and how often all else did.
    pub(super) fn judged(&self, promises: &[Promise]) -> (Vec<String>, Tally) {
        let (mut wrong, mut tally) = (Vec::new(), Tally::default());
        for (name, versions) in &self.deployments {
            let leases = self.leases.get(name).map(Vec::as_slice);
            let leases = leases.unwrap_or_default();
            let mut judged = Judged::new(leases);
            for pair in versions.windows(2) {
                judged.change(&pair[0], &pair[1]);
            }
            judged.end(versions.last());
            judged.promises(versions, promises.iter().filter(|p| p.name == *name));
            wrong.extend(judged.wrong.iter().map(|why| format!("{name}: {why}")));
            tally.taken += judged.before.len();
            tally.returned += judged.returned.len();
            tally.fenced += judged.fenced;
        }
        (wrong, tally)
    }
}

fn parts(event: &Value) -> Option<(String, u64, &Value)> {
    let object = &event["object"];
    let name = object["metadata"]["name"].as_str();
    let version = object["metadata"]["resourceVersion"].as_str().unwrap();
    // A bookmark has no name.
    Some((name?.to_owned(), version.parse().unwrap(), object))
}

/// One Deployment's past, as far as it was looked at.
struct Judged<'a> {
    leases: &'a [OfLease],
    /// By the mark of each lease, that of its return.
    marks: BTreeMap<String, String>,
    /// By mark, the count that there was before a lease's first.
    before: BTreeMap<String, i32>,
    /// By mark, when it was gone back.
    returned: BTreeMap<String, Timestamp>,
    fenced: usize,
    wrong: Vec<String>,
}

impl<'a> Judged<'a> {
    fn new(leases: &'a [OfLease]) -> Self {
        let all = leases.iter().filter_map(|(_, lease)| lease.as_ref());
        Self {
            leases,
            marks: all
                .map(|lease| (lease.mark.clone(), lease.mark_of_return()))
                .collect(),
            before: BTreeMap::new(),
            returned: BTreeMap::new(),
            fenced: 0,
            wrong: Vec::new(),
        }
    }

    fn change(&mut self, old: &Version, new: &Version) {
        let others_gone = new.count != old.count;
        let writers = new.owners.iter();
        let writers = writers.filter(|owner| others_gone || !old.owners.contains(*owner));
        for writer in writers {
            let mark = mark_of(writer).unwrap_or_default();
            if self.marks.contains_key(mark) {
                self.before.entry(mark.to_owned()).or_insert(old.count);
            } else if let Some(of) = self.lease_of_return(mark) {
                self.goes_back(&of, writer, old, new);
            } else if writer.starts_with("headcount@") {
                self.fenced += 1;
                if others_gone {
                    self.say(new, format!("a fence sets {} to {}", old.count, new.count));
                }
            }
        }
    }

    fn lease_of_return(&self, mark: &str) -> Option<String> {
        let mut all = self.marks.iter();
        let found = all.find(|(_, back)| *back == mark);
        found.map(|(of, _)| of.clone())
    }

    fn goes_back(&mut self, of: &str, writer: &str, old: &Version, new: &Version) {
        let at = time_of(writer);
        if self.returned.insert(of.to_owned(), at).is_some() {
            self.say(new, format!("the lease {of} goes back twice"));
        }
        let own = |owner: &String| mark_of(owner) == Some(of);
        if old.owners.is_empty() || !old.owners.iter().all(own) {
            self.say(
                new,
                format!("the lease {of} goes back from {old:?}, which isn't its own"),
            );
        }
        if self.before.get(of) != Some(&new.count) {
            let before = self.before.get(of);
            self.say(
                new,
                format!(
                    "the lease {of} goes back to {}, and not to {before:?}",
                    new.count
                ),
            );
        }
        let mut earlier = self.leases.iter().rev();
        let then = earlier.find(|(version, _)| *version < new.version);
        let claimed = |lease: &Lease| lease.mark == of && lease.state == State::Ending;
        if !then.is_some_and(|(_, lease)| lease.as_ref().is_some_and(claimed)) {
            self.say(new, format!("the lease {of} goes back unclaimed: {then:?}"));
        }
    }

    fn end(&mut self, last: Option<&Version>) {
        let Some(last) = last else { return };
        let marks = last.owners.iter().filter_map(|owner| mark_of(owner));
        let forgotten: Vec<_> = marks
            .filter(|mark| self.marks.contains_key(*mark))
            .collect();
        if !forgotten.is_empty() {
            self.say(last, format!("the lease {forgotten:?} was forgotten"));
        }
        if let Some((version, Some(lease))) = self.leases.last() {
            self.say(
                last,
                format!("there is a Lease still, of {version}: {lease:?}"),
            );
        }
    }

    fn promises<'p>(&mut self, versions: &[Version], promises: impl Iterator<Item = &'p Promise>) {
        for promise in promises {
            let set = versions.iter().find(|one| one.count == promise.count);
            let Some(set) = set else {
                self.wrong
                    .push(format!("{promise:?} was told, and never set"));
                continue;
            };
            let mut marks = set.owners.iter().filter_map(|owner| mark_of(owner));
            let back = marks.find_map(|mark| self.returned.get(mark).copied());
            if let (Some(back), Some(until)) = (back, promise.until)
                && back < until
            {
                self.say(
                    set,
                    format!("the lease goes back at {back}, and {until} was promised"),
                );
            }
        }
    }

    fn say(&mut self, at: &Version, why: String) {
        self.wrong.push(format!("at {}: {why}", at.version));
    }
}

fn mark_of(manager: &str) -> Option<&str> {
    let (_, mark) = manager.rsplit_once('#')?;
    let of_return = mark
        .strip_prefix("end-")
        .or_else(|| mark.strip_prefix("cut-"));
    Some(of_return.unwrap_or(mark))
}

/// The second in a field manager's name.
fn time_of(manager: &str) -> Timestamp {
    let rest = manager.rsplit_once('#').map_or(manager, |(rest, _)| rest);
    rest.rsplit_once('@').unwrap().1.parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "0123456789abcdef";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_300_000 + second).unwrap()
    }

    fn lease(state: State) -> Lease {
        Lease {
            namespace: "web".into(),
            name: "shop".into(),
            uid: uuid::Uuid::from_u128(1),
            mark: MARK.into(),
            replicas: 10,
            previous: 3,
            state,
            reason: None,
            holder: "alice".into(),
            ended_by: None,
            taken: at(0),
            renewed: at(0),
            seconds: 60,
        }
    }

    fn version(version: u64, count: i32, owner: &str) -> Version {
        let owners = Some(owner).filter(|owner| !owner.is_empty());
        Version {
            version,
            count,
            owners: owners.map(str::to_owned).into_iter().collect(),
        }
    }

    fn holder() -> String {
        format!("headcount:alice@{}#{MARK}", at(0))
    }

    fn back(second: i64) -> String {
        let mark = lease(State::Held).mark_of_return();
        format!("headcount:alice@{}#{mark}", at(second))
    }

    /// Ten for a minute where three were, and back.
    fn good() -> (Past, Vec<Promise>) {
        let name = "shop".to_owned();
        let deployment = vec![
            version(1, 3, ""),
            version(3, 10, &holder()),
            version(6, 3, &back(60)),
        ];
        let of_lease = vec![
            (2, Some(lease(State::Pending { version: 1 }))),
            (4, Some(lease(State::Held))),
            (5, Some(lease(State::Ending))),
            (7, None),
        ];
        let past = Past {
            deployments: [(name.clone(), deployment)].into(),
            leases: [(name.clone(), of_lease)].into(),
        };
        let promise = Promise {
            name,
            count: 10,
            until: Some(at(60)),
        };
        (past, vec![promise])
    }

    #[test]
    fn what_went_as_it_should_is_not_reproached() {
        let (past, promises) = good();
        let (wrong, tally) = past.judged(&promises);
        assert_eq!(wrong, [""; 0]);
        let once = Tally {
            taken: 1,
            returned: 1,
            fenced: 0,
        };
        assert_eq!(tally, once);
    }

    /// Whether a past that was changed like this is found wrong, in these words.
    fn found(words: &str, change: impl FnOnce(&mut Vec<Version>, &mut Vec<OfLease>)) {
        let (mut past, promises) = good();
        let leases = past.leases.get_mut("shop").unwrap();
        change(past.deployments.get_mut("shop").unwrap(), leases);
        let (wrong, _) = past.judged(&promises);
        assert!(
            wrong.iter().any(|why| why.contains(words)),
            "{words}: {wrong:?}"
        );
    }

    #[test]
    fn whatever_should_never_happen_is_found() {
        found("goes back twice", |deployment, _| {
            deployment.push(version(8, 10, &holder()));
            deployment.push(version(9, 3, &back(61)));
        });
        for others in ["", "kubectl"] {
            found("isn't its own", |deployment, _| {
                deployment.insert(2, version(5, 10, others));
            });
        }
        found("isn't its own", |deployment, _| {
            deployment[1].owners.insert("kubectl".into());
        });
        found("goes back to 4", |deployment, _| deployment[2].count = 4);
        found("unclaimed", |_, leases| drop(leases.remove(2)));
        found("unclaimed", |_, leases| leases[2] = (5, None));
        found("was promised", |deployment, _| {
            deployment[2] = version(6, 3, &back(59));
        });
        found("was forgotten", |deployment, _| drop(deployment.pop()));
        found("there is a Lease still", |_, leases| drop(leases.pop()));
        found("never set", |deployment, _| deployment[1].count = 11);
        found("a fence sets 3 to 5", |deployment, _| {
            deployment.push(version(8, 5, &format!("headcount@{}", at(70))));
        });
    }
}
