//! Kubernetes' `Status`: how the API says no, in kube-apiserver's words.

use serde::Serialize;

/// A refusal, before it is encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Option<Box<Details>>,
    /// The token with which an expired list can go on.
    pub(crate) continue_token: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) retry_after_seconds: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The resource that a message names.
pub(crate) const DEPLOYMENTS: &str = "deployments";
pub(crate) const APPS: &str = "apps";

impl Status {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            ..Self::default()
        }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.group = group.to_owned();
        details.kind = kind.to_owned();
        details.name = name.to_owned();
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    pub(crate) fn success(group: &str, kind: &str, name: &str, uid: &str) -> Self {
        let mut status = Self {
            code: 200,
            ..Self::default()
        }
        .about(group, kind, name);
        status.details.get_or_insert_default().uid = uid.to_owned();
        status
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code < 300
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn no_such_path() -> Self {
        let mut status = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        status.details = Some(Box::default());
        status
    }

    pub(crate) fn method_not_allowed() -> Self {
        let mut status = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = Some(Box::default());
        status
    }

    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", qualified(group, resource)),
        )
        .about(group, resource, name)
    }

    pub(crate) fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", qualified(group, resource)),
        )
        .about(group, resource, name)
    }

    pub(crate) fn conflict((group, resource): (&str, &str), name: &str, why: &str) -> Self {
        let what = qualified(group, resource);
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {what} \"{name}\": {why}"),
        )
        .about(group, resource, name)
    }

    /// The version that the writer judged on is not the present one.
    pub(crate) fn modified(name: &str) -> Self {
        Self::conflict(
            (APPS, DEPLOYMENTS),
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The storage's own check of the uid, in its words.
    pub(crate) fn other_uid(key: &str, name: &str, wanted: &str, found: &str) -> Self {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/deployments/{key}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        );
        Self::conflict((APPS, DEPLOYMENTS), name, &why)
    }

    /// A patch of a media type that isn't simulated.
    pub(crate) fn no_patch() -> Self {
        let mut status = Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        status.details = Some(Box::default());
        status
    }

    /// One field is wrong.
    pub(crate) fn invalid(
        group: &str,
        kind: &str,
        name: &str,
        field: &str,
        reason: &str,
        body: &str,
    ) -> Self {
        let cause = Cause {
            reason: reason.to_owned(),
            message: body.to_owned(),
            field: field.to_owned(),
        };
        Self::all_invalid(group, kind, name, vec![cause])
    }

    fn all_invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let mut each: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let all = if each.len() == 1 {
            each.remove(0)
        } else {
            format!("[{}]", each.join(", "))
        };
        let message = format!("{} \"{name}\" is invalid: {all}", qualified(group, kind));
        let mut status = Self::new(422, "Invalid", message).about(group, kind, name);
        status.details.get_or_insert_default().causes = causes;
        status
    }

    /// What kube-apiserver makes of an object that can't be read once a patch is merged into it.
    pub(crate) fn of_patch(self, merged: &serde_json::Value) -> Self {
        if self.code != 400 {
            return self;
        }
        let why = self
            .message
            .split_once(": ")
            .map_or(self.message.as_str(), |(_, why)| why);
        let body = format!("Invalid value: {:?}: {why}", merged.to_string());
        Self::invalid("", "", "", "patch", "FieldValueInvalid", &body)
    }

    /// A deletion's precondition doesn't hold.
    pub(crate) fn not_to_delete((group, kind): (&str, &str), name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {kind}.{group} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(group, kind, name)
    }

    pub(crate) fn negative_replicas(group: &str, kind: &str, name: &str, replicas: i64) -> Self {
        let body = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        Self::invalid(
            group,
            kind,
            name,
            "spec.replicas",
            "FieldValueInvalid",
            &body,
        )
    }

    pub(crate) fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, resource);
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} \"{name}\" is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_old(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    pub(crate) fn too_large(requested: u64, current: u64) -> Self {
        let message =
            format!("Timeout: Too large resource version: {requested}, current: {current}");
        let mut status = Self::new(504, "Timeout", message).retry_after(1);
        status.details.get_or_insert_default().causes = vec![Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }];
        status
    }

    /// A status of this code with what kube-apiserver usually says then.
    pub(crate) fn usual(code: u16) -> Self {
        let (reason, message) = match code {
            400 => (
                "BadRequest",
                "the server rejected our request for an unknown reason",
            ),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => (
                "NotFound",
                "the server could not find the requested resource",
            ),
            405 => (
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            409 => ("Conflict", "the server reported a conflict"),
            410 => (
                "Expired",
                "The resourceVersion for the provided list is too old.",
            ),
            422 => (
                "Invalid",
                "the server rejected our request due to an error in our request",
            ),
            429 => (
                "TooManyRequests",
                "Too many requests, please try again later.",
            ),
            500 => (
                "InternalError",
                "Internal error occurred: etcdserver: leader changed",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "Timeout: request did not complete within requested timeout - context deadline exceeded",
            ),
            _ => ("", "unknown"),
        };
        Self::new(code, reason, message)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.json_value()).unwrap_or_default()
    }

    pub(crate) fn json_value(&self) -> serde_json::Value {
        let metadata = match &self.continue_token {
            Some(token) => serde_json::json!({ "continue": token }),
            None => serde_json::json!({}),
        };
        let mut value = serde_json::json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": if self.is_success() { "Success" } else { "Failure" },
        });
        if !self.message.is_empty() {
            value["message"] = self.message.as_str().into();
        }
        if !self.reason.is_empty() {
            value["reason"] = self.reason.as_str().into();
        }
        if let Some(details) = &self.details {
            value["details"] = serde_json::to_value(details).unwrap_or_default();
        }
        if !self.is_success() {
            value["code"] = self.code.into();
        }
        value
    }
}

/// What is wrong with the fields of a request.
#[derive(Debug, Default)]
pub(crate) struct Causes(Vec<Cause>);

impl Causes {
    fn add(&mut self, field: &str, reason: &str, message: String) {
        self.0.push(Cause {
            reason: reason.to_owned(),
            message,
            field: field.to_owned(),
        });
    }

    pub(crate) fn forbidden(&mut self, field: &str, why: &str) {
        self.add(field, "FieldValueForbidden", format!("Forbidden: {why}"));
    }

    pub(crate) fn unsupported(&mut self, field: &str, value: &str, supported: &str) {
        let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
        self.add(field, "FieldValueNotSupported", message);
    }

    /// An error if anything is wrong.
    pub(crate) fn check(self, group: &str, kind: &str, name: &str) -> Result<(), Status> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Status::all_invalid(group, kind, name, self.0))
        }
    }
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}
