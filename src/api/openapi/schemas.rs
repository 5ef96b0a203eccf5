//! The bodies of requests and answers, as their readers see them. Tests hold answers of the running server to them.

#![expect(dead_code, reason = "they describe, and are never made")]

mod batches;
mod caller;
mod history;
mod leases;

use std::collections::BTreeMap;

use utoipa::{
    ToSchema,
    openapi::{Components, RefOr, Schema},
};

use batches::{
    Batch, BatchAnswer, BatchItem, BatchOfList, BatchOfSelector, BatchResult, Snapshot,
    SnapshotItem,
};
use caller::{
    Bounds, Certificate, ClusterUser, Effect, Mode, NameKind, Permission, ValidUntilOf, WhoAmI,
};
use history::{CountChange, EndOfLease, History, SetBy};
use leases::{ExtendLease, Lease, LeaseEnded, LeaseState, Leased, TakeLease};

/// Every failure.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Error {
    /// What is wrong and what to do, in a sentence.
    error: String,
}

/// What became of a write, in a sentence.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    message: String,
}

/// The desired count of a Deployment.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Replicas {
    namespace: String,
    name: String,
    /// One that states none runs 1.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
}

/// A Deployment in a list.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Listed {
    namespace: String,
    name: String,
    /// One that states none runs 1.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// Its Pods that are ready; with `status=true` alone.
    #[schema(nullable = false, minimum = 0, maximum = 2_147_483_647)]
    ready_replicas: Option<i32>,
}

/// The count to set.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetReplicas {
    /// Written as an integer.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
}

/// By how much to change the count.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepReplicas {
    /// Positive: more; negative: fewer.
    #[schema(minimum = -2_147_483_648_i64, maximum = 2_147_483_647)]
    delta: i32,
}

/// What was done to a count.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReplicasWritten {
    namespace: String,
    name: String,
    /// The count that it has now.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    replica_count: i32,
    /// The count that it had.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    previous_replica_count: i32,
    /// Whether these two differ.
    changed: bool,
    /// The version that the write made.
    resource_version: String,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    /// How far its rollout is, for those who waited.
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
    /// The lease that was ended or renewed by it, as it was; its holder is empty for who may not `get` the Deployment.
    #[schema(nullable = false)]
    lease_before: Option<Lease>,
    /// Why the count may not stay, if something else sets it too.
    #[schema(nullable = false)]
    warnings: Option<Vec<String>>,
}

/// A container of the Pod template.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    name: String,
    /// As the Deployment has it.
    image: String,
}

/// The containers of a Deployment's Pod template, in its order.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Containers {
    namespace: String,
    name: String,
    containers: Vec<Container>,
    /// Left out if there are none.
    #[schema(nullable = false)]
    init_containers: Option<Vec<Container>>,
}

/// The image to set.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetImage {
    /// `[host[:port]/]path[:tag][@digest]`, written as it is given.
    #[schema(min_length = 1)]
    image: String,
}

/// What was done to an image.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ImageWritten {
    namespace: String,
    name: String,
    container: String,
    image: String,
    previous_image: String,
    changed: bool,
    resource_version: String,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
}

/// How far a rollout is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollout {
    status: RolloutStatus,
    /// The same in a sentence.
    message: String,
    desired: i32,
    current: i32,
    updated: i32,
    ready: i32,
    available: i32,
}

/// `complete`: every Pod is of the newest template and available. `superseded`: somebody else changed the count meanwhile.
/// `stalled`: Kubernetes gave up on its deadline for progress.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum RolloutStatus {
    Complete,
    Progressing,
    Superseded,
    Stalled,
    Paused,
}

/// The counts of a Deployment's Pods.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    /// What its `spec` asks for.
    #[schema(minimum = 0)]
    desired: i32,
    /// Pods that are there.
    #[schema(minimum = 0)]
    current: i32,
    /// Those of the newest template.
    #[schema(minimum = 0)]
    updated: i32,
    #[schema(minimum = 0)]
    ready: i32,
    /// Ready for long enough.
    #[schema(minimum = 0)]
    available: i32,
}

/// One of the conditions that Kubernetes keeps of a Deployment.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// Such as `Available` or `Progressing`.
    r#type: String,
    /// `True`, `False` or `Unknown`.
    status: String,
    reason: String,
    message: String,
    #[schema(required)]
    last_transition_time: Option<String>,
}

/// Who set the count last, as Kubernetes remembers it.
#[derive(ToSchema)]
pub(super) struct LastSetBy {
    /// The program: `headcount`, `kubectl-client-side-apply`, ….
    manager: String,
    /// Who asked headcount for it, where it was headcount.
    #[schema(nullable = false)]
    principal: Option<String>,
    /// RFC 3339.
    #[schema(required)]
    at: Option<String>,
    /// `scale`; left out for a write of the Deployment itself.
    #[schema(nullable = false)]
    subresource: Option<String>,
}

/// Something else that sets the count.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlsoSetBy {
    /// `HorizontalPodAutoscaler`, `ScaledObject`, `Kustomization`, `HelmRelease` or `Application`.
    kind: String,
    /// Where it isn't the Deployment's.
    #[schema(nullable = false)]
    namespace: Option<String>,
    name: String,
    #[schema(nullable = false)]
    min_replicas: Option<i32>,
    #[schema(nullable = false)]
    max_replicas: Option<i32>,
}

/// All that is known of one Deployment.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Deployment {
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
    generation: i64,
    /// The generation that Kubernetes has acted on.
    observed_generation: i64,
    replicas: Counts,
    /// Whether its rollout is paused.
    paused: bool,
    rollout: Rollout,
    /// `deployment.kubernetes.io/revision`.
    #[schema(required)]
    revision: Option<i64>,
    containers: Vec<Container>,
    /// Left out if there are none.
    #[schema(nullable = false)]
    init_containers: Option<Vec<Container>>,
    labels: BTreeMap<String, String>,
    conditions: Vec<Condition>,
    #[schema(required)]
    last_set_by: Option<LastSetBy>,
    /// Autoscalers and GitOps tools that own the count too.
    #[schema(nullable = false)]
    also_set_by: Option<Vec<AlsoSetBy>>,
    /// The lease of its count, if it has one; without `remainingSeconds`.
    #[schema(nullable = false)]
    lease: Option<Lease>,
    /// Whether a count that is set stays; `null` where this server doesn't see autoscalers.
    will_stick: Option<bool>,
    /// The counts that the caller may set, by server, policy and annotations; left out if it may set none.
    #[schema(nullable = false)]
    bounds: Option<Bounds>,
}

/// Whether the rollout shall be paused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetPaused {
    /// `false` resumes it.
    paused: bool,
}

/// Nothing to say.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Where to go back to.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    /// A revision that Kubernetes still has; without it, the one before.
    #[schema(minimum = 1, nullable = false)]
    revision: Option<i64>,
}

/// A restart that was begun.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Restarted {
    namespace: String,
    name: String,
    /// RFC 3339.
    #[schema(required)]
    restarted_at: Option<String>,
    /// `null` for the first one.
    #[schema(required)]
    previously_restarted_at: Option<String>,
    changed: bool,
    resource_version: String,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
}

/// Whether rollouts are held.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PausedWritten {
    namespace: String,
    name: String,
    paused: bool,
    previously_paused: bool,
    changed: bool,
    resource_version: String,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
}

/// Which revision it went back to.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RolledBack {
    namespace: String,
    name: String,
    /// The one that it went back to; its Pod template gets a new number by Kubernetes.
    #[schema(required)]
    revision: Option<i64>,
    /// The one that it had.
    #[schema(required)]
    previous_revision: Option<i64>,
    changed: bool,
    resource_version: String,
    /// `true` if nothing was changed, as asked by `dryRun`; left out otherwise.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    #[schema(nullable = false)]
    rollout: Option<Rollout>,
}

/// This server's copy follows the cluster.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Healthy {
    /// `healthy`
    status: String,
    /// `connected`
    kubernetes: String,
}

/// It doesn't.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unhealthy {
    /// `unhealthy`
    status: String,
    /// Why, in a sentence.
    error: String,
}

/// Adds every schema under its name.
pub(super) fn add(components: &mut Components) {
    fn of<T: ToSchema>() -> (String, RefOr<Schema>) {
        (T::name().into_owned(), T::schema())
    }
    components.schemas.extend([
        of::<Error>(),
        of::<Message>(),
        of::<Replicas>(),
        of::<Listed>(),
        of::<SetReplicas>(),
        of::<StepReplicas>(),
        of::<ReplicasWritten>(),
        of::<TakeLease>(),
        of::<ExtendLease>(),
        of::<Lease>(),
        of::<LeaseState>(),
        of::<Leased>(),
        of::<LeaseEnded>(),
        of::<Deployment>(),
        of::<Counts>(),
        of::<Rollout>(),
        of::<RolloutStatus>(),
        of::<Condition>(),
        of::<LastSetBy>(),
        of::<AlsoSetBy>(),
        of::<Container>(),
        of::<Containers>(),
        of::<SetImage>(),
        of::<ImageWritten>(),
        of::<Nothing>(),
        of::<SetPaused>(),
        of::<Rollback>(),
        of::<Restarted>(),
        of::<PausedWritten>(),
        of::<RolledBack>(),
        of::<Batch>(),
        of::<BatchOfList>(),
        of::<BatchItem>(),
        of::<BatchOfSelector>(),
        of::<BatchAnswer>(),
        of::<BatchResult>(),
        of::<Snapshot>(),
        of::<SnapshotItem>(),
        of::<Healthy>(),
        of::<Unhealthy>(),
        of::<WhoAmI>(),
        of::<History>(),
        of::<CountChange>(),
        of::<EndOfLease>(),
        of::<SetBy>(),
        of::<NameKind>(),
        of::<ValidUntilOf>(),
        of::<Mode>(),
        of::<Certificate>(),
        of::<ClusterUser>(),
        of::<Permission>(),
        of::<Effect>(),
        of::<Bounds>(),
    ]);
}
