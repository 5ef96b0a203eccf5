//! What a batch found before it changed it: enough to bring that back, and to leave alone what others have changed since.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use uuid::Uuid;

use super::{
    super::{
        ApiError,
        json::{count, objects, one_object, uid},
    },
    body::{Names, valid},
};

/// The snapshot of a batch, which its caller keeps: servers remember none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Snapshot {
    #[serde(default, deserialize_with = "time")]
    taken_at: String,
    #[serde(deserialize_with = "objects")]
    items: Vec<Before>,
}

/// One Deployment before it was changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Before {
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(deserialize_with = "uid")]
    pub(super) uid: Uuid,
    /// What it was.
    #[serde(deserialize_with = "count")]
    pub(super) replica_count: i32,
    /// What the batch set.
    #[serde(deserialize_with = "count")]
    pub(super) set_to: i32,
    /// By what that is recognised, as long as nobody else has set the count.
    pub(super) mark: String,
    /// Until when what it was would have stayed: it was leased.
    #[serde(
        default,
        deserialize_with = "some_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) leased_until: Option<String>,
}

impl Snapshot {
    /// Of what was changed, or may have been.
    pub(super) fn of(items: Vec<Before>) -> Self {
        let now = Timestamp::now();
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self {
            taken_at: second.to_string(),
            items,
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let time = String::deserialize(deserializer)?;
    match time.parse::<Timestamp>() {
        Ok(_) => Ok(time),
        Err(_) => Err(D::Error::custom(
            "must be a time, such as 2026-11-28T17:00:00Z",
        )),
    }
}

fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    time(deserializer).map(Some)
}

/// What a body says was there before.
pub(super) fn read(body: &[u8]) -> Result<Vec<Before>, ApiError> {
    let Snapshot { items, .. } = one_object(body).map_err(ApiError::BadSnapshotBody)?;
    let names: Vec<Names> = items
        .iter()
        .map(|one| (one.namespace.clone(), one.name.clone()))
        .collect();
    valid(names.iter())?;
    let is_mark = |mark: &str| mark.len() == 16 && mark.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(at) = items.iter().position(|one| !is_mark(&one.mark)) {
        return Err(ApiError::BadRequest(format!(
            "items[{at}]: mark must be 16 hexadecimal digits, as the batch was answered with"
        )));
    }
    Ok(items)
}
