//! The Deployments that a batch's selector selects, of those that its caller may list.

use std::sync::Arc;

use super::{
    super::{
        Api, ApiError,
        authorization::{self, LabelsOf, Sight},
        deployments::{SEARCHED_AT_ONCE, aside},
        list_part::labels_read,
    },
    MOST,
    body::Names,
};
use crate::{
    access::{Caller, Verb},
    selector::LabelSelector,
    store::Snapshot,
};

/// Their names, in a list's order.
pub(super) async fn names(
    api: &Api,
    caller: &Arc<Caller>,
    selector: LabelSelector,
    namespace: Option<String>,
) -> Result<Vec<Names>, ApiError> {
    authorization::authorize_list(caller, Verb::List)?;
    let within = namespace.as_deref();
    if let Some(namespace) = within {
        authorization::authorize_namespace(caller, Verb::List, namespace)?;
    }
    let store = api.status.store();
    // Who may see nothing has nobody wait, and the cluster list nothing.
    Sight::of(caller, Verb::List, within, &store.snapshot()).await?;
    if let Some(namespace) = within
        && store.snapshot().resource_version_in(namespace) == 0
    {
        return Err(ApiError::NoSuchNamespace(namespace.into()));
    }
    labels_read(api, caller, &selector, within).await?;
    let snapshot = store.snapshot();
    let sight = Sight::of(caller, Verb::List, within, &snapshot).await?;
    if snapshot.len() <= SEARCHED_AT_ONCE {
        return search(&snapshot, &sight, &selector, within);
    }
    let search = move || search(&snapshot, &sight, &selector, namespace.as_deref());
    aside(api, caller, search).await?
}

fn search(
    snapshot: &Snapshot,
    sight: &Sight,
    selector: &LabelSelector,
    namespace: Option<&str>,
) -> Result<Vec<Names>, ApiError> {
    let mut sees = sight.over(snapshot);
    let (mut names, mut found) = (Vec::new(), 0);
    let records = snapshot.after(namespace.unwrap_or_default(), "");
    for record in records.take_while(|r| namespace.is_none_or(|n| r.namespace() == n)) {
        if !selector.selects(&LabelsOf(record)) || !sees(&record).ok_or(ApiError::NotSynced)? {
            continue;
        }
        found += 1;
        if found <= MOST {
            names.push((record.namespace().to_owned(), record.name().to_owned()));
        }
    }
    if found > MOST {
        return Err(ApiError::TooManySelected { found, most: MOST });
    }
    Ok(names)
}
