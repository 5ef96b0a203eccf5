//! cert-manager's own controllers on a real control plane, with the manifests as they are shipped: what they issue is valid, served,
//! and accepted.

mod cluster;
mod guide;
mod issuing;
mod load;
mod renewing;
mod served;

use cluster::Cluster;

/// One after another, on one cluster: each begins where the one before it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cert_manager_issues_is_served_renewed_replaced_and_revoked() {
    let cluster = Cluster::start().await;
    issuing::certificates_have_the_usages_names_and_keys_that_they_need(&cluster).await;
    issuing::the_bundle_is_made_of_authorities_alone(&cluster).await;
    guide::manifests_and_the_guide_are_what_the_api_server_takes(&cluster).await;
    guide::the_bundle_can_be_mounted_as_a_config_map(&cluster).await;
    guide::the_deny_list_is_mounted_where_the_program_reads_it(&cluster).await;
    renewing::a_renewal_has_a_new_key_and_leaves_no_old_request(&cluster).await;
    let served = served::Served::start(&cluster).await;
    issuing::an_issued_client_is_let_in_and_one_of_another_authority_is_not(&cluster, &served)
        .await;
    renewing::the_servers_certificate_is_renewed_under_load_and_no_request_fails(&cluster, &served)
        .await;
    renewing::an_authoritys_renewal_keeps_its_key_and_whoever_was_let_in(&cluster, &served).await;
    renewing::the_clients_authority_is_replaced_with_overlap(&cluster, &served).await;
    renewing::a_denied_client_is_let_in_no_more(&cluster, &served).await;
}
