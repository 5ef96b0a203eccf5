//! Mode `kubernetes`: the cluster's own authorization decides, asked by SubjectAccessReview.
//!
//! Everything that isn't a clear yes is a no. An answer is used for at most ten seconds. Nothing else waits for this: neither the
//! informer nor the probes ask it anything.

mod answers;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use self::answers::{Answers, Key, Outcome, Share};
use super::{KubernetesNames, Principal, Verb};
use crate::{
    kubernetes::{AccessReview, AccessReviewError, AccessReviews, Verdict},
    limits::{CallerId, Limit, Places, Turns},
    telemetry::metrics::ReviewMetrics,
};

/// How long a question may take, waiting for its turn included.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long all questions of one list may take together.
const LIST_DEADLINE: Duration = Duration::from_secs(5);
/// How many questions are asked at once, a quarter of them about one user, and how many wait for that.
const AT_ONCE: Places = Places {
    at_once: 64,
    waiting: 4096,
    longest_wait: DEADLINE,
};
/// How many of them one list may take.
const AT_ONCE_A_LIST: usize = 8;
/// How often failures are logged at most.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// Kubernetes' own users and groups begin with this.
const RESERVED: &str = "system:";

/// Why a caller may not do something. Nothing was done in either case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The cluster said no.
    #[error(
        "the cluster doesn't let its user {user:?} {access}: have a role that allows it bound to this user, or to one of its groups"
    )]
    No {
        /// The caller, as the cluster knows it.
        user: String,
        /// What isn't allowed, in RBAC's terms.
        access: String,
    },
    /// The cluster couldn't be asked, or gave no clear answer.
    #[error("the cluster didn't say whether this is allowed: {0}")]
    Unavailable(#[from] AccessReviewError),
}

impl Denied {
    /// How long the API server asked to be left alone, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable(AccessReviewError::Unanswered { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

/// The namespaces whose Deployments a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// All, those that are yet to come included.
    All,
    /// These, maybe none.
    Namespaces(BTreeSet<String>),
}

impl Visible {
    /// Whether this namespace is among them.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(some) => some.contains(namespace),
        }
    }
}

/// Asks the cluster what callers may do, and remembers its answers for a moment. Clones share them.
#[derive(Clone)]
pub struct Reviewer(Arc<Inner>);

impl fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reviewer").field(&self.0.names).finish()
    }
}

struct Inner {
    reviews: AccessReviews,
    names: KubernetesNames,
    metrics: Arc<ReviewMetrics>,
    turns: Turns,
    answers: Mutex<Answers>,
    warned: Mutex<Option<Instant>>,
}

/// A question that is being asked, until this is dropped.
struct UnderWay {
    of: Arc<Inner>,
    key: Key,
    share: Arc<Share>,
    user: CallerId,
    ticket: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.of.answers().end(&self.key, self.ticket);
    }
}

impl KubernetesNames {
    /// The user, or `None` where a prefix and a name make one of Kubernetes' own.
    fn user(&self, principal: &Principal) -> Option<String> {
        let user = format!("{}{}", self.user_prefix, principal.name);
        (!user.starts_with(RESERVED)).then_some(user)
    }

    /// The groups, each once and in order, without Kubernetes' own: neither a certificate nor a prefix makes one of them.
    fn groups(&self, principal: &Principal) -> Vec<String> {
        let groups: BTreeSet<String> = principal
            .groups
            .iter()
            .filter(|group| !group.is_empty() && !group.starts_with(RESERVED))
            .map(|group| format!("{}{group}", self.group_prefix))
            .filter(|group| !group.starts_with(RESERVED))
            .collect();
        groups.into_iter().collect()
    }
}

/// RBAC's verb and the subresource of `deployments` (apps/v1): for writes those that this server itself uses.
const fn rbac(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Get => ("get", ""),
        Verb::List => ("list", ""),
        Verb::Watch => ("watch", ""),
        Verb::Scale => ("update", "scale"),
        Verb::Image | Verb::Restart | Verb::Pause | Verb::Rollback => ("patch", ""),
    }
}

impl Reviewer {
    /// Asks by `reviews`; nothing is sent yet.
    pub fn new(
        reviews: AccessReviews,
        names: KubernetesNames,
        metrics: Arc<ReviewMetrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            reviews,
            names,
            metrics,
            turns: Turns::new(Limit::AccessReviews, AT_ONCE),
            answers: Mutex::default(),
            warned: Mutex::default(),
        }))
    }

    /// The caller's user and groups as the cluster is told of them; no user where the name would be one of Kubernetes' own.
    pub fn named(&self, principal: &Principal) -> (Option<String>, Vec<String>) {
        (self.0.names.user(principal), self.0.names.groups(principal))
    }

    /// Whether a caller may do something to one Deployment, to all of a namespace (`name: None`), or everywhere (both `None`).
    ///
    /// Takes 3 s at most.
    ///
    /// # Errors
    ///
    /// Whenever the cluster didn't clearly say yes.
    pub async fn may(
        &self,
        principal: &Principal,
        verb: Verb,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<(), Denied> {
        let (rbac_verb, subresource) = rbac(verb);
        let groups = self.0.names.groups(principal);
        let user = self.0.names.user(principal);
        let review = AccessReview {
            user: user.as_deref().unwrap_or(&principal.name),
            groups: &groups,
            verb: rbac_verb,
            subresource,
            namespace,
            name,
        };
        let allowed = match &user {
            Some(user) => self.0.answer(user, review.to_bytes()).await?,
            None => false,
        };
        if allowed {
            return Ok(());
        }
        Err(Denied::No {
            user: review.user.to_owned(),
            access: Terms(&review).to_string(),
        })
    }

    /// Which of these namespaces' Deployments a caller may list or watch: asked once of all, and if that is denied of each.
    ///
    /// Takes 5 s at most.
    ///
    /// # Errors
    ///
    /// [`Denied::Unavailable`] if any question had no answer: a list is never silently short.
    pub async fn sees<N: Into<String>>(
        &self,
        principal: &Principal,
        verb: Verb,
        namespaces: impl IntoIterator<Item = N>,
    ) -> Result<Visible, Denied> {
        let namespaces: Vec<String> = namespaces.into_iter().map(Into::into).collect();
        let questions = async {
            match self.may(principal, verb, None, None).await {
                Ok(()) => return Ok(Visible::All),
                Err(Denied::No { .. }) => {}
                Err(unavailable) => return Err(unavailable),
            }
            let each = namespaces
                .into_iter()
                .map(|namespace| self.seen(principal, verb, namespace));
            stream::iter(each)
                .buffer_unordered(AT_ONCE_A_LIST)
                .try_filter_map(async |namespace| Ok(namespace))
                .try_collect()
                .await
                .map(Visible::Namespaces)
        };
        timeout(LIST_DEADLINE, questions)
            .await
            .unwrap_or_else(|_| Err(late(LIST_DEADLINE).into()))
    }

    /// The denial of a caller whom the cluster lets see no namespace's Deployments.
    pub fn sees_nothing(&self, principal: &Principal, verb: Verb) -> Denied {
        let user = self.0.names.user(principal);
        Denied::No {
            user: user.unwrap_or_else(|| principal.name.clone()),
            access: format!(
                "{} deployments (apiGroup apps) in any namespace that has some here",
                rbac(verb).0
            ),
        }
    }

    /// The namespace, if the caller may see it.
    async fn seen(
        &self,
        principal: &Principal,
        verb: Verb,
        namespace: String,
    ) -> Result<Option<String>, Denied> {
        match self.may(principal, verb, Some(&namespace), None).await {
            Ok(()) => Ok(Some(namespace)),
            Err(Denied::No { .. }) => Ok(None),
            Err(unavailable) => Err(unavailable),
        }
    }
}

impl Inner {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        lock(&self.answers)
    }

    /// The answer that is known, that somebody is waiting for, or a new one.
    async fn answer(self: &Arc<Self>, user: &str, question: Bytes) -> Outcome {
        let mut key = Key::default();
        key.copy_from_slice(digest::digest(&digest::SHA256, &question).as_ref());
        let now = Instant::now();
        let asking = {
            let mut answers = self.answers();
            if let Some(allowed) = answers.known(&key, now) {
                self.metrics.remembered();
                return Ok(allowed);
            }
            match (answers.under_way(&key), answers.paused(now)) {
                (Some(asking), _) => asking,
                (None, Some(left)) => return Err(paused(left)),
                (None, None) => {
                    let share = answers.share(user);
                    answers.begin(key, |ticket| {
                        let under_way = UnderWay {
                            of: Arc::clone(self),
                            key,
                            share,
                            user: CallerId::new(user),
                            ticket,
                        };
                        Self::ask(under_way, question, now)
                    })
                }
            }
        };
        asking.await
    }

    /// Asks the cluster, and remembers what it said.
    async fn ask(under_way: UnderWay, question: Bytes, asked: Instant) -> Outcome {
        let UnderWay {
            of,
            key,
            share,
            user,
            ..
        } = &under_way;
        let exchange = async {
            let turn = of.turns.take(user).await;
            let _turn = turn.map_err(AccessReviewError::NoTurn)?;
            of.reviews.ask(question.clone(), DEADLINE).await
        };
        let verdict = timeout_at(asked + DEADLINE, exchange)
            .await
            .unwrap_or_else(|_| Err(late(DEADLINE)));
        match verdict {
            Ok(verdict) => {
                of.answered(&question, &verdict);
                of.answers()
                    .remember(*key, share, verdict.allowed, asked, Instant::now());
                Ok(verdict.allowed)
            }
            Err(error) => {
                of.failed(&error);
                Err(error)
            }
        }
    }

    fn answered(&self, question: &[u8], verdict: &Verdict) {
        let result = if verdict.allowed { "allowed" } else { "denied" };
        self.metrics.asked(result);
        debug!(name: "access.review.answered", result, question = %String::from_utf8_lossy(question), reason = %verdict.reason, evaluation_error = %verdict.evaluation_error,
            "the cluster was asked by SubjectAccessReview");
    }

    fn failed(&self, error: &AccessReviewError) {
        self.metrics.asked("failed");
        let now = Instant::now();
        if let AccessReviewError::Unanswered {
            retry_after: Some(wanted),
            ..
        } = error
        {
            self.answers().pause(*wanted, now);
        }
        let mut warned = lock(&self.warned);
        if warned.is_some_and(|at| now < at + WARN_EVERY) {
            return;
        }
        *warned = Some(now);
        drop(warned);
        let why = match error {
            AccessReviewError::Credentials { words } => words.clone(),
            other => other.to_string(),
        };
        warn!(name: "access.review.failed", error = why,
            "a SubjectAccessReview failed, and what it was about was denied; more of this is counted and logged again after {} s",
            WARN_EVERY.as_secs());
    }
}

/// A panic elsewhere leaves this state whole, so poison is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn late(deadline: Duration) -> AccessReviewError {
    AccessReviewError::Unanswered {
        why: format!(
            "the Kubernetes API didn't answer within {} s",
            deadline.as_secs()
        ),
        retry_after: None,
    }
}

fn paused(left: Duration) -> AccessReviewError {
    AccessReviewError::Unanswered {
        why: "the Kubernetes API asked to be left alone for a moment".to_owned(),
        retry_after: Some(left),
    }
}

/// What a review is about, as RBAC's users say it.
struct Terms<'a>(&'a AccessReview<'a>);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccessReview {
            verb,
            subresource,
            namespace,
            name,
            ..
        } = self.0;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(f, "{verb} deployments{slash}{subresource} (apiGroup apps)")?;
        if let Some(name) = name {
            write!(f, " named {name:?}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in the namespace {namespace:?}"),
            None => f.write_str(" in all namespaces"),
        }
    }
}

#[cfg(test)]
mod tests;
