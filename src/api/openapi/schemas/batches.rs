//! What batches take and answer.

use utoipa::ToSchema;

use super::Lease;

/// Counts to set: of a list, or of what is selected.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Batch {
    Listed(BatchOfList),
    Selected(BatchOfSelector),
}

/// Counts to set, each with its Deployment.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BatchOfList {
    /// Each Deployment once.
    #[schema(min_items = 1, max_items = 250)]
    items: Vec<BatchItem>,
    /// Each is a lease, for so many seconds.
    #[schema(nullable = false, minimum = 10, maximum = 2_147_483_647)]
    duration_seconds: Option<i32>,
}

/// One count to set.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BatchItem {
    #[schema(
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    namespace: String,
    #[schema(
        min_length = 1,
        max_length = 253,
        pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    )]
    name: String,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
}

/// One count for all that are selected, 250 at most.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BatchOfSelector {
    /// As `kubectl get --selector` takes it, with one condition at least.
    #[schema(min_length = 1, max_length = 1024)]
    label_selector: String,
    /// Only in this namespace.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    namespace: Option<String>,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// Each is a lease, for so many seconds.
    #[schema(nullable = false, minimum = 10, maximum = 2_147_483_647)]
    duration_seconds: Option<i32>,
}

/// What became of a batch.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BatchAnswer {
    /// In the order of the request; of a selector, by namespace and name.
    results: Vec<BatchResult>,
    #[schema(minimum = 0)]
    succeeded: i32,
    #[schema(minimum = 0)]
    failed: i32,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    /// What `restore` takes. A dry run has one only with an `Idempotency-Key`.
    #[schema(nullable = false)]
    snapshot: Option<Snapshot>,
}

/// What became of one Deployment: counts, or an error.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BatchResult {
    namespace: String,
    name: String,
    /// As a request for it alone would have had.
    status: i32,
    /// The count that it has now.
    #[schema(nullable = false)]
    replica_count: Option<i32>,
    /// The count that it had.
    #[schema(nullable = false)]
    previous_replica_count: Option<i32>,
    /// Whether these two differ.
    #[schema(nullable = false)]
    changed: Option<bool>,
    /// The version that the write made, or left.
    #[schema(nullable = false)]
    resource_version: Option<String>,
    /// When the lease ends, of one (RFC 3339).
    #[schema(nullable = false)]
    until: Option<String>,
    /// The lease that was ended or renewed by it, as it was; its holder is empty for who may not `get` the Deployment.
    #[schema(nullable = false)]
    lease_before: Option<Lease>,
    /// Why the count may not stay, if something else sets it too.
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
    /// What is wrong and what to do, in a sentence.
    #[schema(nullable = false)]
    error: Option<String>,
    /// Seconds until it is worth another try, where that is known.
    #[schema(nullable = false)]
    retry_after: Option<i32>,
}

/// What a batch found before it changed it.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Snapshot {
    /// RFC 3339.
    #[schema(nullable = false, format = DateTime)]
    taken_at: Option<String>,
    /// What was changed, or may have been.
    #[schema(max_items = 250)]
    items: Vec<SnapshotItem>,
}

/// One Deployment before it was changed.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SnapshotItem {
    #[schema(
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    )]
    namespace: String,
    #[schema(
        min_length = 1,
        max_length = 253,
        pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    )]
    name: String,
    #[schema(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    uid: String,
    /// What it was.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// What the batch set.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    set_to: i32,
    /// By what that is recognised, as long as nobody else has set the count.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    mark: String,
    /// Until when what it was would have stayed, where it was leased: brought back it stays. RFC 3339.
    #[schema(nullable = false, format = DateTime)]
    leased_until: Option<String>,
}
