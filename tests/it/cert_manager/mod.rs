//! cert-manager's own controllers on a real control plane, with the chart: what they issue is valid, served, and accepted.

mod issued;
mod issuing;
mod load;
mod renewing;

use issued::Issued;

use crate::chart::in_a_world;

/// One after another, on one release: each begins where the one before it has ended.
#[test]
fn what_cert_manager_issues_is_served_renewed_replaced_and_revoked() {
    in_a_world(|world| async {
        let issued = Issued::start(world).await;
        issuing::certificates_have_the_usages_names_and_keys_that_they_need(&issued).await;
        issuing::of_the_authorities_of_clients_their_certificates_alone_are_in_the_pod(&issued);
        renewing::a_renewal_has_a_new_key_and_leaves_no_old_request(&issued).await;
        issuing::an_issued_client_is_let_in_and_one_of_another_authority_is_not(&issued).await;
        renewing::the_servers_certificate_is_renewed_under_load_and_no_request_fails(&issued).await;
        renewing::an_authoritys_renewal_keeps_its_key_and_whoever_was_let_in(&issued).await;
        renewing::a_denied_client_is_let_in_no_more(&issued).await;
        renewing::the_clients_authority_is_replaced_with_overlap(&issued).await;
    });
}
