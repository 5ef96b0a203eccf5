//! One list of scenarios that runs on simkube and on a real control plane: etcd, kube-apiserver, its controllers, kwok.

mod batches;
mod following;
mod images;
mod leases;
mod outages;
mod owners;
mod rollouts;
mod writing;

use std::{
    io::Write as _,
    panic::AssertUnwindSafe,
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, future, stream};
use serde_json::json;

use crate::support::{Setup, World, eventually};

type Scenario = for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! scenarios {
    ($($name:path),* $(,)?) => {
        &[$((stringify!($name), |world| Box::pin($name(world)))),*]
    };
}

/// How many run at once: more would take turns at the API server's two cores, and each wait for all.
const AT_ONCE: usize = 8;

/// They run beside each other, each in a namespace of its own.
const TOGETHER: &[(&str, Scenario)] = scenarios![
    following::what_kubectl_does_shows_within_a_second,
    following::a_deployment_that_does_not_say_how_many_runs_one,
    following::a_deployment_created_again_is_another_one,
    following::a_list_of_several_pages_is_complete,
    following::a_selector_bounds_reads_and_writes,
    following::namespaces_bound_reads_and_writes,
    following::a_watch_that_swallows_its_bytes_is_replaced_within_thirty_seconds,
    following::a_cut_connection_loses_nothing,
    following::the_list_equals_the_clusters_after_a_storm_of_changes,
    following::labels_and_annotations_are_in_the_copy,
    following::a_watch_with_status_shows_pods_become_ready,
    writing::a_write_is_read_at_once_and_ends_in_that_many_ready_replicas,
    writing::a_write_that_changes_nothing_says_so,
    writing::a_dry_run_changes_nothing,
    writing::of_many_writers_with_the_same_tag_one_wins,
    writing::a_busy_deployment_can_be_scaled,
    writing::a_deployment_that_is_being_deleted_is_a_conflict,
    writing::zero_is_a_count,
    writing::events_tell_of_writes_with_who_what_and_why,
    images::an_image_is_set_read_back_at_once_and_left_alone_otherwise,
    images::a_container_that_is_not_there_is_not_added,
    images::a_dry_run_of_an_image_changes_nothing,
    images::of_many_who_set_an_image_with_the_same_tag_one_wins,
    images::an_image_of_a_busy_deployment_can_be_set,
    rollouts::a_rollout_is_waited_for_and_who_made_it_is_told,
    rollouts::a_step_is_made_once_by_whichever_server_is_asked,
    batches::a_batch_is_restored_but_for_what_others_changed_by_whichever_server_is_asked,
    batches::a_batch_as_large_as_it_may_be_is_set_and_restored,
    leases::a_leased_count_goes_back_and_one_that_others_set_is_left_to_them,
];

/// What only a real control plane has: revisions, autoscalers that act, and server-side apply.
const REAL: &[(&str, Scenario)] = scenarios![
    rollouts::a_bad_image_is_taken_back,
    owners::an_autoscaler_undoes_what_was_warned_of,
    owners::who_waits_for_a_count_is_told_that_an_autoscaler_took_it_back,
    owners::a_gitops_tool_counts_unless_it_applies_no_count,
    batches::what_an_autoscaler_or_a_gitops_tool_took_is_left_to_it,
    owners::the_history_tells_who_set_which_count_whoever_it_was,
];

/// They break the API server for everybody.
const ALONE: &[(&str, Scenario)] = scenarios![
    images::an_image_is_set_though_its_caller_hangs_up,
    outages::a_killed_api_server_is_told_within_ten_seconds_and_heals,
    outages::a_stopped_api_server_is_told_within_ten_seconds_and_heals,
    outages::history_compacted_away_is_listed_anew,
    outages::a_server_started_before_its_cluster_waits_for_it,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds_on_simkube() {
    run(&World::simulated().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds_on_a_real_control_plane() {
    run(&World::real().await).await;
}

async fn run(world: &World) {
    let start = Instant::now();
    let real = if world.is_real() { REAL } else { &[] };
    let together = TOGETHER.iter().chain(real);
    let mut failed: Vec<&str> = stream::iter(together)
        .map(|scenario| attempt(world, scenario))
        .buffer_unordered(AT_ONCE)
        .filter_map(future::ready)
        .collect()
        .await;
    for scenario in ALONE {
        failed.extend(attempt(world, scenario).await);
    }
    let total = TOGETHER.len() + real.len() + ALONE.len();
    let line = format!(
        "scenarios on {}: {} passed; {} failed; 0 skipped; {:.0} s\n",
        world.name(),
        total - failed.len(),
        failed.len(),
        start.elapsed().as_secs_f64()
    );
    // Past the test runner's capture: whoever runs the tests sees that both clusters had the same scenarios.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert_eq!(failed, Vec::<&str>::new());
}

async fn attempt(
    world: &World,
    (name, scenario): &(&'static str, Scenario),
) -> Option<&'static str> {
    let ended = AssertUnwindSafe(scenario(world)).catch_unwind().await;
    ended.is_err().then_some(*name)
}

/// Changes the Deployment `shop` as fast as the API server lets it, for less long than a write is attempted: whoever writes may
/// lose to it each time for that long.
async fn keep_busy(world: &World, namespace: &str) {
    let until = Instant::now() + Duration::from_secs(1);
    let mut turn = 0;
    while Instant::now() < until {
        let touch = json!({"metadata": {"annotations": {"turn": turn.to_string()}}});
        world.patch(namespace, "shop", touch).await;
        turn += 1;
    }
}
