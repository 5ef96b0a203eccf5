//! `GET /` and `GET /page/…`: the page for people, whose files (`src/page/`) are a part of the program.
//!
//! It asks the API alone, so that it may do what its user's certificate may, and nothing that is in it needs a permission.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use super::{ApiError, Body, rendered::Rendered};

/// No script, style or image but the page's own, no request but to this server, no text that becomes markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// A file of the page, by its name below `/page/`.
struct File {
    name: &'static str,
    content_type: &'static str,
    rendered: Rendered,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../page/", $name)).as_slice())),+]
    };
}

static INDEX: LazyLock<Rendered> = LazyLock::new(|| {
    let page = include_str!("../page/index.html");
    let page = page.replace("{version}", env!("CARGO_PKG_VERSION"));
    Rendered::of(page.replace("{modules}", &modules()).into())
});

/// All modules are asked for at once: over a slow network each look for what the one before imports takes its time.
fn modules() -> String {
    let modules = FILES.iter().filter(|file| file.name.ends_with(".js"));
    let modules = modules.filter(|file| !["app.js", "theme.js"].contains(&file.name));
    let link = |file: &File| format!("<link rel=\"modulepreload\" href=\"/page/{}\">", file.name);
    modules.map(link).collect::<Vec<_>>().join("\n")
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = files![
        "api.js",
        "app.js",
        "batch.js",
        "change.js",
        "connection.js",
        "details.js",
        "dialog.js",
        "dom.js",
        "grid.js",
        "history.js",
        "icon.svg",
        "keys.js",
        "leases.js",
        "me.js",
        "owners.js",
        "present.js",
        "rollout.js",
        "rows.js",
        "shown.js",
        "stream.js",
        "style.css",
        "table.css",
        "theme.js",
        "times.js",
    ];
    let file = |(name, bytes): (&'static str, &'static [u8])| File {
        name,
        content_type: content_type(name),
        rendered: Rendered::of(Bytes::from_static(bytes)),
    };
    files.into_iter().map(file).collect()
});

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "image/svg+xml",
    }
}

/// `GET /`
pub(super) fn index(request: &HeaderMap) -> Response<Body> {
    guarded(INDEX.answer("text/html; charset=utf-8", request))
}

/// `GET /page/{file}`
pub(super) fn file(name: &str, request: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or(ApiError::NoSuchPath)?;
    Ok(guarded(file.rendered.answer(file.content_type, request)))
}

fn guarded(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().extend(HEADERS);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_text_and_every_attribute_of_the_page_is_written_in_one_file() {
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            let path = format!("{}/src/page/{}", env!("CARGO_MANIFEST_DIR"), file.name);
            let script = std::fs::read_to_string(path).unwrap();
            let writes = |property: &str| script.contains(&format!(".{property} = "));
            let properties = [
                "textContent",
                "innerText",
                "title",
                "ariaLabel",
                "placeholder",
            ];
            let found = properties.iter().any(|property| writes(property));
            let found = found || script.contains(".setAttribute(");
            assert_eq!(found, file.name == "dom.js", "{}", file.name);
        }
    }
}
