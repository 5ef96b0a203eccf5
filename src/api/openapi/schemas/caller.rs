//! What `whoami` answers.

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// Whom the server takes the caller for.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WhoAmI {
    /// `null` for a certificate that names nobody, or several.
    #[schema(required)]
    principal: Option<String>,
    #[schema(nullable = false)]
    principal_kind: Option<NameKind>,
    groups: Vec<String>,
    /// Why there is no principal.
    #[schema(nullable = false)]
    no_principal: Option<String>,
    certificate: Certificate,
    authorization: Mode,
    /// There and true where this server is read-only: it refuses every write, whatever the permissions are.
    #[schema(nullable = false)]
    read_only: Option<bool>,
    /// What it may do, where this server decides.
    #[schema(nullable = false)]
    permissions: Option<Vec<Permission>>,
    /// Whom the cluster is asked about, where that decides.
    #[schema(nullable = false)]
    cluster: Option<ClusterUser>,
}

/// Where in the certificate the name was.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum NameKind {
    Uri,
    Dns,
    CommonName,
}

/// Who decides what a caller may do.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Mode {
    Any,
    Policy,
    Kubernetes,
}

/// The certificate that the caller showed.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Certificate {
    subject: String,
    /// Hexadecimal.
    serial: String,
    issuer: String,
    /// Until when the server takes it, unless what ends then is renewed before: whichever of it, its CAs and their revocation lists
    /// ends first. RFC 3339.
    #[schema(format = DateTime)]
    valid_until: String,
    valid_until_of: ValidUntilOf,
    /// Until when the certificate itself is valid, and is to be renewed. RFC 3339.
    #[schema(format = DateTime)]
    not_after: String,
}

/// What ends first, at `validUntil`: the caller's certificate, that of a CA above it, or a revocation list, which whoever runs the server
/// replaces by a newer one.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum ValidUntilOf {
    Certificate,
    Issuer,
    RevocationList,
}

/// As whom the cluster knows the caller.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterUser {
    #[schema(required)]
    user: Option<String>,
    groups: Vec<String>,
}

/// A rule that is about the caller.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Permission {
    /// The rule's name; none where no policy is configured.
    #[schema(nullable = false)]
    rule: Option<String>,
    effect: Effect,
    /// `get`, `list`, `scale`, ….
    verbs: Vec<String>,
    /// Patterns; left out: all.
    #[schema(nullable = false)]
    namespaces: Option<Vec<String>>,
    /// Patterns of names; left out: all.
    #[schema(nullable = false)]
    deployments: Option<Vec<String>>,
    #[schema(nullable = false)]
    label_selector: Option<String>,
    #[schema(nullable = false)]
    bounds: Option<Bounds>,
    /// Which images may be set.
    #[schema(nullable = false)]
    images: Option<BTreeMap<String, serde_json::Value>>,
}

/// What a rule decides.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// Which counts may be set; what isn't given bounds nothing.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Bounds {
    #[schema(nullable = false)]
    min: Option<i32>,
    #[schema(nullable = false)]
    max: Option<i32>,
    /// The most that one write may change it by.
    #[schema(nullable = false)]
    max_step: Option<i32>,
    #[schema(nullable = false)]
    allow_zero: Option<bool>,
}
