//! `GET /whoami`: whom this server takes the caller for, and what that may do.

use http::{Response, StatusCode};
use serde::Serialize;

use super::Body;
use crate::access::{Caller, RuleSummary};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WhoAmI<'a> {
    /// `null` for a certificate that names nobody, or more than one.
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_kind: Option<crate::access::NameKind>,
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    no_principal: Option<String>,
    certificate: Certificate<'a>,
    authorization: &'static str,
    /// Whatever the caller's permissions are, this server sets nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
    /// Where this server decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<RuleSummary<'a>>>,
    /// Where the cluster decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<AsTheClusterKnows>,
}

#[derive(Serialize)]
struct AsTheClusterKnows {
    user: Option<String>,
    groups: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate<'a> {
    subject: &'a str,
    serial: &'a str,
    issuer: &'a str,
    valid_until: String,
    valid_until_of: &'static str,
    not_after: String,
}

pub(super) fn get(caller: &Caller) -> Response<Body> {
    let (principal, no_principal) = match &caller.principal {
        Ok(principal) => (Some(principal), None),
        Err(why) => (None, Some(why.to_string())),
    };
    let identity = &caller.identity;
    let answer = WhoAmI {
        principal: principal.map(|p| p.name.as_str()),
        principal_kind: principal.map(|p| p.kind),
        groups: principal.map_or(&[], |p| &p.groups),
        no_principal,
        certificate: Certificate {
            subject: &identity.subject,
            serial: &identity.serial,
            issuer: &identity.issuer,
            valid_until: crate::tls::at(identity.valid_until),
            valid_until_of: identity.bound.name(),
            not_after: crate::tls::at(identity.not_after),
        },
        authorization: caller.rules.authorization.mode(),
        read_only: caller.rules.writes.read_only,
        permissions: caller
            .rules
            .reviewer
            .is_none()
            .then(|| caller.permissions.summary()),
        cluster: (caller.rules.reviewer.as_ref().zip(principal)).map(|(reviewer, principal)| {
            let (user, groups) = reviewer.named(principal);
            AsTheClusterKnows { user, groups }
        }),
    };
    // A struct of strings and numbers always has a JSON form.
    Body::json(
        StatusCode::OK,
        serde_json::to_vec(&answer).unwrap_or_default(),
    )
}
