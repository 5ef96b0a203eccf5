//! Leases of counts.

use utoipa::ToSchema;

use super::Rollout;

/// The count to lease.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TakeLease {
    /// Written as an integer.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// From 10 to what the server allows.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    duration_seconds: u32,
}

/// For how long.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExtendLease {
    /// From now on; from 10 to what the server allows.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    duration_seconds: u32,
}

/// `pending`: its count is being written. `ending`: it is over, and goes back to the count before.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum LeaseState {
    Pending,
    Held,
    Ending,
}

/// A count for so long.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Lease {
    namespace: String,
    name: String,
    /// The count that is leased.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// The count that it goes back to.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    previous_replica_count: i32,
    /// Whoever took or renewed it last.
    holder: String,
    state: LeaseState,
    /// RFC 3339.
    taken_at: String,
    /// When it goes back (RFC 3339).
    until: String,
    #[schema(minimum = 0, nullable = false)]
    remaining_seconds: Option<i64>,
    /// Why it was taken, in its holder's words.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// What was done to a count and its lease.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Leased {
    namespace: String,
    name: String,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// The count that it had a moment ago, which may be the lease's.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    previous_replica_count: i32,
    changed: bool,
    resource_version: String,
    lease: Lease,
    /// The lease that was renewed, as it was; its holder is empty for who may not `get` the Deployment.
    #[schema(nullable = false)]
    lease_before: Option<Lease>,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
}

/// A lease that was ended.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LeaseEnded {
    namespace: String,
    name: String,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    previous_replica_count: i32,
    changed: bool,
    resource_version: String,
    /// Whether the count is what it was before the lease.
    reverted: bool,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
}
