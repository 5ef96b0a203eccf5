//! A caller as its connection's generation sees it: who it is, and what decides over its requests.

use std::{net::SocketAddr, sync::Arc};

use tracing::warn;

use super::{
    Authorization, KubernetesNames, NoPrincipal, NotVouchedFor, Permissions, Principal, Reviewer,
    Verbs,
};
use crate::{
    limits::{Allowance, CallerId, CallerRates, Limiter, Limits, Rates, Who},
    store::LabelKeys,
    tls::{Identity, Refusal},
};

/// Who sent a request, from where, and what decides over it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What its certificate says.
    pub identity: Identity,
    /// Whom its certificate names.
    pub principal: Result<Principal, NoPrincipal>,
    /// The address of its end of the connection.
    pub address: SocketAddr,
    /// What its requests are judged by.
    pub rules: Arc<Rules>,
    /// What of the rules is about it.
    pub permissions: Permissions,
    /// What it may have of what is limited, and what it has left.
    pub allowance: Arc<Allowance>,
    /// Why its certificates, which opened the connection, are accepted no more.
    pub refused: Option<Refusal>,
    /// The number of the generation that judged it; 0 for one that none did.
    pub judged_by: u64,
}

impl Caller {
    /// Somebody whose certificates were accepted.
    pub fn new(
        identity: Identity,
        principal: Result<Principal, NoPrincipal>,
        address: SocketAddr,
        rules: Arc<Rules>,
    ) -> Self {
        let id = CallerId::new(&key(&identity, &principal));
        Self {
            permissions: rules.permissions(principal.as_ref().ok()),
            allowance: Arc::new(Allowance::new(id, &CallerRates::default())),
            identity,
            principal,
            address,
            rules,
            refused: None,
            judged_by: 0,
        }
    }

    /// The same within these rates, of which it has what it left over when it was here before.
    pub fn limited(mut self, limiter: &Limiter, rates: &Rates) -> Self {
        let rates = rates.of(self.principal.as_ref().ok());
        let id = self.allowance.id().clone();
        self.allowance = limiter.caller(id, rates);
        self
    }

    /// Whom the log is told of.
    pub(crate) fn who(&self) -> Who<'_> {
        Who {
            principal: self.principal.as_ref().ok().map(|p| p.name.as_str()),
            address: Some(self.address.ip()),
        }
    }

    /// The name of its principal, or nothing.
    pub fn name(&self) -> &str {
        self.principal.as_ref().map_or("", |p| &p.name)
    }

    /// What tells this caller from others in counts: its principal, or its certificate where that names none.
    pub(crate) fn identity_key(&self) -> String {
        key(&self.identity, &self.principal)
    }

    /// Tells that an open connection's client isn't let in any more.
    pub(crate) fn log_dismissed(&self, refusal: &Refusal) {
        let Refusal { reason, detail, .. } = refusal;
        warn!(name: "tls.client.dismissed", reason, principal = %self.name(), subject = %self.identity.subject, serial = %self.identity.serial,
            issuer = %self.identity.issuer, address = %self.address, error = %detail, "client dismissed: {reason}");
    }
}

/// A principal is one whatever certificates it has; who has none is known by its certificate (RFC 5280, 4.1.2.2).
fn key(identity: &Identity, principal: &Result<Principal, NoPrincipal>) -> String {
    match principal {
        Ok(principal) => format!("{}:{}", principal.kind, principal.name),
        Err(_) => format!("{} {}", identity.serial, identity.issuer),
    }
}

/// What requests are judged by, beside the cluster's state.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What may be written.
    pub writes: WriteRules,
    /// Who may do what.
    pub authorization: Authorization,
    /// The labels that decide over it.
    pub labels: LabelKeys,
    /// Asks the cluster, where that decides.
    pub reviewer: Option<Reviewer>,
    /// How large requests may be, and how slow.
    pub limits: Arc<Limits>,
}

impl Rules {
    /// What these settings mean for requests. `reviewer` makes what asks the cluster, if that is to decide.
    pub fn new(
        writes: WriteRules,
        authorization: Authorization,
        reviewer: impl FnOnce(&KubernetesNames) -> Reviewer,
    ) -> Self {
        let labels = match &authorization {
            Authorization::Policy(policy) => policy.label_keys().into_iter().collect(),
            _ => LabelKeys::default(),
        };
        let reviewer = match &authorization {
            Authorization::Kubernetes(names) => Some(reviewer(names)),
            _ => None,
        };
        Self {
            writes,
            authorization,
            labels,
            reviewer,
            limits: Arc::default(),
        }
    }

    fn permissions(&self, principal: Option<&Principal>) -> Permissions {
        match (&self.authorization, principal) {
            (Authorization::Any(verbs), _) => Permissions::any(*verbs),
            (Authorization::Policy(policy), Some(principal)) => {
                policy.permissions(&principal.name, &principal.groups)
            }
            // The cluster is asked before anything else is judged.
            (Authorization::Kubernetes(_), Some(_)) if self.reviewer.is_some() => {
                Permissions::any(Verbs::ALL)
            }
            (Authorization::Policy(_) | Authorization::Kubernetes(_), _) => {
                Permissions::any(Verbs::default())
            }
        }
    }
}

/// What the configuration says of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRules {
    /// Every write is refused.
    pub read_only: bool,
    /// The largest count that may be set.
    pub max_replicas: i32,
}

impl Default for WriteRules {
    fn default() -> Self {
        Self {
            read_only: false,
            max_replicas: 10_000,
        }
    }
}

impl From<NotVouchedFor> for Refusal {
    fn from(error: NotVouchedFor) -> Self {
        Self {
            reason: "NotVouchedFor",
            suspicious: true,
            detail: error.to_string(),
        }
    }
}
