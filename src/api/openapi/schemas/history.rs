//! What `history` answers.

use utoipa::ToSchema;

/// Changes of counts.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    /// From when on this server knows of all of them.
    #[schema(format = DateTime)]
    since: String,
    /// Newest first.
    changes: Vec<CountChange>,
}

/// One count became another one.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CountChange {
    /// When this server saw it.
    #[schema(format = DateTime)]
    time: String,
    namespace: String,
    name: String,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    from: i32,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    to: i32,
    /// Left out where the Deployment doesn't tell.
    #[schema(nullable = false)]
    by: Option<SetBy>,
    /// Headcount brought the count back: `ended`, since the time of a lease of `by` was over; `cancelled`, since `by` ended one.
    #[schema(nullable = false)]
    lease: Option<EndOfLease>,
    /// The version of the Deployment with the new count.
    resource_version: String,
}

/// What a change has to do with a lease.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum EndOfLease {
    Ended,
    Cancelled,
}

/// Who set a count.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetBy {
    /// For whom headcount set it.
    #[schema(nullable = false)]
    principal: Option<String>,
    /// The field manager, as it calls itself.
    manager: String,
}
