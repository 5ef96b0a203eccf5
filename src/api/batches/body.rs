//! What a batch is asked for in its body.

use serde::{Deserialize, Deserializer};

use super::{
    super::{
        ApiError,
        json::{count, objects, one_object},
        list_parameters::selector,
        path::{shown, valid_names, valid_namespace},
    },
    MOST,
};
use crate::selector::LabelSelector;

/// Namespace and name.
pub(super) type Names = (String, String);

/// Counts to set.
pub(super) struct Wanted {
    pub(super) counts: Counts,
    /// How long they are to stay, if not for good.
    pub(super) seconds: Option<u32>,
}

/// Which counts.
pub(super) enum Counts {
    /// Of these Deployments, each with its own.
    Listed(Vec<(Names, i32)>),
    /// Of those that are selected, in one namespace or in all, the same.
    Selected {
        selector: LabelSelector,
        namespace: Option<String>,
        count: i32,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    #[serde(default, deserialize_with = "listed")]
    items: Option<Vec<Count>>,
    #[serde(default, deserialize_with = "given")]
    label_selector: Option<String>,
    #[serde(default, deserialize_with = "given")]
    namespace: Option<String>,
    #[serde(default, deserialize_with = "given_count")]
    replica_count: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    duration_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Count {
    namespace: String,
    name: String,
    #[serde(deserialize_with = "count")]
    replica_count: i32,
}

/// A field that is there has a value: null isn't its absence.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

fn given_count<'de, D: Deserializer<'de>>(field: D) -> Result<Option<i32>, D::Error> {
    count(field).map(Some)
}

fn listed<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Vec<Count>>, D::Error> {
    objects(field).map(Some)
}

impl Wanted {
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let asked: Asked = one_object(body).map_err(ApiError::BadBatchBody)?;
        let seconds = asked.duration_seconds;
        let counts = Self::counts(asked)?;
        Ok(Self { counts, seconds })
    }

    fn counts(asked: Asked) -> Result<Counts, ApiError> {
        match asked {
            Asked {
                items: Some(items),
                label_selector: None,
                namespace: None,
                replica_count: None,
                ..
            } => {
                let counts = items.into_iter().map(|one| {
                    let Count {
                        namespace,
                        name,
                        replica_count,
                    } = one;
                    ((namespace, name), replica_count)
                });
                let counts: Vec<_> = counts.collect();
                if counts.is_empty() {
                    return Err(ApiError::BadRequest(format!(
                        "items is empty: a batch has 1 to {MOST} Deployments"
                    )));
                }
                valid(counts.iter().map(|(names, _)| names))?;
                Ok(Counts::Listed(counts))
            }
            Asked {
                items: None,
                label_selector: Some(text),
                namespace,
                replica_count: Some(count),
                ..
            } => {
                if let Some(namespace) = &namespace {
                    valid_namespace(namespace)?;
                }
                let selector = selector(&text)?;
                // Elsewhere it selects everything, which is never what a batch was meant to be of.
                if selector.keys().next().is_none() {
                    return Err(ApiError::BadRequest(
                        "labelSelector has no condition: a batch is of Deployments that are selected by one at least".into(),
                    ));
                }
                Ok(Counts::Selected {
                    selector,
                    namespace,
                    count,
                })
            }
            _ => Err(ApiError::BadBatchBody(
                ": it has items, or labelSelector and replicaCount".into(),
            )),
        }
    }
}

/// Judges a list of Deployments with counts: how many, their names, and that none is there twice.
pub(super) fn valid<'a>(items: impl ExactSizeIterator<Item = &'a Names>) -> Result<(), ApiError> {
    let bad = |why: String| Err(ApiError::BadRequest(why));
    if items.len() > MOST {
        let len = items.len();
        return bad(format!(
            "items has {len} Deployments, and a batch has {MOST} at most: send several"
        ));
    }
    let mut known = std::collections::HashMap::new();
    for (at, names) in items.enumerate() {
        let (namespace, name) = (&*names.0, &*names.1);
        if let Err(why) = valid_names((namespace, name)) {
            return bad(format!("items[{at}]: {why}"));
        }
        if let Some(before) = known.insert(names, at) {
            let (namespace, name) = (shown(namespace), shown(name));
            return bad(format!(
                "items[{before}] and items[{at}] are both Deployment {name} in namespace {namespace}: a batch has each once"
            ));
        }
    }
    Ok(())
}
