//! What the API looks like to programs: the OpenAPI 3.1 document, and a page of it for people.
//!
//! Tests hold the document to `Route`, to the running server's answers, and to its committed copy.

mod answers;
mod batches;
mod calls;
mod page;
mod parameters;
mod reads;
mod schemas;
mod writes;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Response, header};
use utoipa::openapi::{
    Components, Info, License, OpenApi, Paths, Server, Tag,
    security::{SecurityRequirement, SecurityScheme},
};

use super::{Body, rendered::Rendered};

/// The calls' groups, in the page's order.
const TAGS: [(&str, &str); 3] = [
    ("read", "What this server knows of Deployments."),
    (
        "write",
        "What changes Deployments. Every write holds only for the state that it was judged on.",
    ),
    ("server", "The server itself."),
];

const ABOUT: &str = "Manages the replica counts of Kubernetes Deployments. JSON over TLS 1.3 with a client certificate on every connection, \
HTTP/1.1 or HTTP/2.

Every failure is `{\"error\":\"…\"}`, a sentence that says what is wrong and what to do. `HEAD` works wherever `GET` does; a method that a path \
doesn't have is 405, a path that isn't there 404.";

/// The document.
pub fn document() -> OpenApi {
    let mut info = Info::new("headcount", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.into());
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".into());
    info.license = Some(license);
    let mut paths = Paths::new();
    for call in calls::all() {
        let (path, methods) = (call.path, vec![call.method.clone()]);
        paths.add_path_operation(path, methods, call.operation());
    }
    let mut components = Components::new();
    components.add_security_scheme(
        "clientCertificate",
        SecurityScheme::MutualTls {
            description: Some(
                "A certificate that names its bearer, issued by a CA that the server trusts for clients."
                    .into(),
            ),
            deprecated: None,
            extensions: None,
        },
    );
    schemas::add(&mut components);
    parameters::add(&mut components);
    answers::add(&mut components);
    let mut document = OpenApi::new(info, paths);
    document.components = Some(components);
    document.servers = Some(vec![Server::new("/api/v1")]);
    document.security = Some(vec![SecurityRequirement::new("clientCertificate", [""; 0])]);
    document.tags = Some(
        TAGS.map(|(name, description)| {
            let mut tag = Tag::new(name);
            tag.description = Some(description.into());
            tag
        })
        .into(),
    );
    document
}

/// The document as it is printed and served.
pub fn json() -> String {
    // It is made of maps and texts, which always have a JSON form.
    let mut json = document().to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

/// `GET /openapi.json`
pub(super) fn get(request: &HeaderMap) -> Response<Body> {
    static RENDERED: LazyLock<Rendered> = LazyLock::new(|| Rendered::of(json().into()));
    RENDERED.answer("application/json", request)
}

/// `GET /docs`
pub(super) fn docs(request: &HeaderMap) -> Response<Body> {
    static RENDERED: LazyLock<Rendered> =
        LazyLock::new(|| Rendered::of(page::page(&document()).into()));
    let mut response = RENDERED.answer("text/html; charset=utf-8", request);
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, page::policy()),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}
