//! The document as a page for people: no script, nothing that is fetched from anywhere.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::answers;

const STYLE: &str = include_str!("page.css");
/// Methods in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "put", "patch", "post", "delete"];

/// The page's content security policy: its own style, and nothing else.
pub(super) fn policy() -> HeaderValue {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// One call, where it stands in the document.
struct Call<'d> {
    path: &'d str,
    method: &'d str,
    operation: &'d Value,
}

impl Call<'_> {
    fn id(&self) -> &str {
        text(&self.operation["operationId"])
    }

    fn method(&self) -> String {
        let method = self.method.to_uppercase();
        format!("<span class=\"method {method}\">{method}</span>")
    }
}

/// The page of a document.
pub(super) fn page(document: &OpenApi) -> String {
    // A map of texts and numbers always has a JSON form.
    let document = &serde_json::to_value(document).unwrap_or_default();
    let calls: Vec<Call<'_>> = entries(&document["paths"])
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                let operation = item.get(*method)?;
                Some(Call {
                    path,
                    method,
                    operation,
                })
            })
        })
        .collect();
    let mut page = String::with_capacity(128 * 1024);
    let info = &document["info"];
    let title = format!("{} {}", text(&info["title"]), text(&info["version"]));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <title>{title}: the API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#calls\">To the calls</a>\n\
        <header>\n<h1>{title}</h1>\n{about}<p>For programs: <a href=\"/api/v1/openapi.json\">openapi.json</a>, OpenAPI {version}.</p>\n</header>\n",
        about = paragraphs(&info["description"]),
        version = escaped(text(&document["openapi"])),
    );
    page.push_str("<nav aria-label=\"Calls\">\n<ul>\n");
    for tag in array(&document["tags"]) {
        for call in of(&calls, tag) {
            let _ = writeln!(
                page,
                "<li><a href=\"#{}\">{}</a></li>",
                call.id(),
                escaped(text(&call.operation["summary"]))
            );
        }
    }
    page.push_str(
        "<li><a href=\"#failures\">What any call can be answered</a></li>\n<li><a href=\"#schemas\">Schemas</a></li>\n</ul>\n</nav>\n<main id=\"calls\">\n",
    );
    for tag in array(&document["tags"]) {
        let name = text(&tag["name"]);
        let _ = write!(
            page,
            "<section aria-labelledby=\"tag-{name}\">\n<h2 id=\"tag-{name}\">{heading}</h2>\n{about}",
            heading = match name {
                "read" => "Read",
                "write" => "Write",
                _ => "The server",
            },
            about = paragraphs(&tag["description"]),
        );
        for call in of(&calls, tag) {
            article(&mut page, document, call);
        }
        page.push_str("</section>\n");
    }
    failures(&mut page, document);
    schemas(&mut page, document);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn of<'c, 'd>(calls: &'c [Call<'d>], tag: &'c Value) -> impl Iterator<Item = &'c Call<'d>> {
    calls
        .iter()
        .filter(move |call| call.operation["tags"][0] == tag["name"])
}

fn article(page: &mut String, document: &Value, call: &Call<'_>) {
    let operation = call.operation;
    let id = call.id();
    let _ = write!(
        page,
        "<article id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h3 id=\"{id}-title\">{summary}</h3>\n<p class=\"call\">{method} <code>/api/v1{path}</code></p>\n{about}",
        summary = escaped(text(&operation["summary"])),
        method = call.method(),
        path = escaped(call.path),
        about = paragraphs(&operation["description"]),
    );
    let _ = write!(
        page,
        "<h4>Example</h4>\n<pre>{}</pre>\n",
        escaped(&curl(document, call))
    );
    if let Some(command) = command(id) {
        let _ = write!(
            page,
            "<p>The same with the client:</p>\n<pre>{command}</pre>\n"
        );
    }
    page.push_str(
        "<details>\n<summary><strong>Parameters</strong></summary>\n<div class=\"table\"><table>\n\
        <thead><tr><th scope=\"col\">name</th><th scope=\"col\">in</th><th scope=\"col\">form</th><th scope=\"col\">meaning</th></tr></thead>\n<tbody>\n",
    );
    for parameter in array(&operation["parameters"]) {
        let parameter = resolved(document, parameter);
        let required = if parameter["required"] == json!(true) {
            ", required"
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "<tr><td><code>{}</code></td><td>{}{required}</td><td>{}</td><td>{}</td></tr>",
            escaped(text(&parameter["name"])),
            escaped(text(&parameter["in"])),
            form(&parameter["schema"]),
            marked(text(&parameter["description"])),
        );
    }
    page.push_str("</tbody>\n</table></div>\n</details>\n");
    if let Some(body) = operation.get("requestBody") {
        let content = &body["content"]["application/json"];
        let _ = writeln!(page, "<h4>Body</h4>\n<p>{}</p>", form(&content["schema"]));
        examples(page, content);
    }
    page.push_str("<h4>Answers</h4>\n");
    // Those of every call stand in one place.
    let common = |status: &str, answer: &Value| {
        let listed = answers::OF_EVERY_CALL
            .iter()
            .any(|one| one.to_string() == status);
        listed && answer.get("$ref").is_some()
    };
    let (everywhere, own): (Vec<_>, Vec<_>) =
        entries(&operation["responses"]).partition(|(status, answer)| common(status, answer));
    for (status, said) in own {
        answer(page, document, status, said);
    }
    let everywhere: Vec<&str> = everywhere.iter().map(|(status, _)| *status).collect();
    let _ = writeln!(
        page,
        "<p>And <a href=\"#failures\">what any call can be answered</a>: {}.</p>",
        everywhere.join(", ")
    );
    page.push_str("</article>\n");
}

/// One answer, folded.
fn answer(page: &mut String, document: &Value, status: &str, answer: &Value) {
    let answer = resolved(document, answer);
    let _ = write!(
        page,
        "<details>\n<summary><strong>{status}</strong> {}</summary>\n",
        marked(text(&answer["description"]))
    );
    for (kind, content) in entries(&answer["content"]) {
        let _ = writeln!(
            page,
            "<p><code>{}</code>: {}</p>",
            escaped(kind),
            form(&content["schema"])
        );
        examples(page, content);
    }
    let headers: Vec<String> = entries(&answer["headers"])
        .map(|(name, header)| {
            let meaning = marked(text(&resolved(document, header)["description"]));
            format!("<li><code>{}</code>: {meaning}</li>", escaped(name))
        })
        .collect();
    let _ = write!(
        page,
        "<p>Headers:</p>\n<ul>\n{}\n</ul>\n</details>\n",
        headers.join("\n")
    );
}

/// What any call can be answered.
fn failures(page: &mut String, document: &Value) {
    page.push_str(
        "<section aria-labelledby=\"failures\">\n<h2 id=\"failures\">What any call can be answered</h2>\n<article>\n",
    );
    for status in answers::OF_EVERY_CALL {
        let status = status.to_string();
        let said = &document["components"]["responses"][&status];
        answer(page, document, &status, said);
    }
    page.push_str("</article>\n</section>\n");
}

/// The client's command that makes the call with this id, if it has one.
pub(super) fn command(id: &str) -> Option<&'static str> {
    Some(match id {
        "listDeployments" => "headcount list",
        "listDeploymentsOfNamespace" => "headcount list --namespace web",
        "getDeployment" => "headcount get web/shop",
        "getReplicas" => "headcount get web/shop --output json",
        "getContainers" => "headcount get web/shop --output wide",
        "setReplicas" => "headcount set web/shop 3",
        "stepReplicas" => "headcount step web/shop +2",
        "setImage" => "headcount image web/shop app=example.org/shop:2",
        "restart" => "headcount restart web/shop",
        "setPaused" => "headcount pause web/shop",
        "rollBack" => "headcount rollback web/shop",
        "setMany" => "headcount batch web/shop=10 web/cart=4",
        "restoreMany" => "headcount restore headcount-snapshot.json",
        "takeLease" => "headcount set web/shop 10 --for 2h",
        "extendLease" => "headcount extend web/shop 1h",
        "cancelLease" => "headcount cancel web/shop",
        "getLease" => "headcount leases --namespace web",
        "listLeases" => "headcount leases",
        "getHistory" => "headcount history web/shop",
        "whoAmI" => "headcount whoami",
        "getHealth" => "headcount health",
        _ => return None,
    })
}

/// What calls it from a shell: the certificates are those of the demo.
fn curl(document: &Value, call: &Call<'_>) -> String {
    let mut path = call.path.to_owned();
    for parameter in array(&call.operation["parameters"]) {
        let parameter = resolved(document, parameter);
        if parameter["in"] == "path" {
            let name = format!("{{{}}}", text(&parameter["name"]));
            path = path.replace(&name, text(&parameter["example"]));
        }
    }
    let mut command = String::from("curl --cacert ca.crt --cert client.crt --key client.key");
    if call.method != "get" {
        let _ = write!(command, " \\\n  -X {}", call.method.to_uppercase());
    }
    if call.operation["operationId"] == "stepReplicas" {
        command.push_str(" -H 'Idempotency-Key: 7f3c1c6e'");
    }
    let content = &call.operation["requestBody"]["content"]["application/json"];
    if let Some((_, example)) = entries(&content["examples"]).next() {
        let _ = write!(
            command,
            " -H 'Content-Type: application/json' -d '{}'",
            example["value"]
        );
    }
    let _ = write!(command, " \\\n  https://localhost:8443/api/v1{path}");
    command
}

fn examples(page: &mut String, content: &Value) {
    let all = entries(&content["examples"]).map(|(_, example)| &example["value"]);
    for example in content.get("example").into_iter().chain(all) {
        let shown = match example {
            Value::String(text) => text.clone(),
            other => format!("{other:#}"),
        };
        let _ = writeln!(page, "<pre>{}</pre>", escaped(shown.trim_end()));
    }
}

fn schemas(page: &mut String, document: &Value) {
    page.push_str("<section aria-labelledby=\"schemas\">\n<h2 id=\"schemas\">Schemas</h2>\n");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        let _ = write!(
            page,
            "<article id=\"schema-{name}\">\n<h3>{name}</h3>\n{}",
            paragraphs(&schema["description"])
        );
        let required = array(&schema["required"]);
        if schema.get("properties").is_none() {
            let _ = writeln!(page, "<p>{}</p>", form(schema));
        } else {
            page.push_str(
                "<div class=\"table\"><table>\n<thead><tr><th scope=\"col\">key</th><th scope=\"col\">form</th><th scope=\"col\">meaning</th></tr></thead>\n<tbody>\n",
            );
            for (key, property) in entries(&schema["properties"]) {
                let optional = if required.iter().any(|name| name == key) {
                    ""
                } else {
                    ", optional"
                };
                let _ = writeln!(
                    page,
                    "<tr><td><code>{key}</code></td><td>{}{optional}</td><td>{}</td></tr>",
                    form(property),
                    marked(text(&property["description"])),
                );
            }
            page.push_str("</tbody>\n</table></div>\n");
        }
        page.push_str("</article>\n");
    }
    page.push_str("</section>\n");
}

/// A schema in a few words, with links to those that have names.
fn form(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|at| at.rsplit('/').next()) {
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for either in ["oneOf", "anyOf"] {
        if let Some(cases) = schema[either].as_array() {
            let cases: Vec<String> = cases.iter().map(form).collect();
            return cases.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("<code>{}</code>", escaped(text(value))))
            .collect();
        return values.join(", ");
    }
    let mut words = match &schema["type"] {
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().map(text).collect();
            kinds.join(" or ")
        }
        kind if kind == "array" => format!("list of {}", form(&schema["items"])),
        kind => escaped(text(kind)),
    };
    let bound = |key: &str| schema.get(key).map(ToString::to_string);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => {
            let _ = write!(words, ", {least} to {most}");
        }
        (Some(least), None) => {
            let _ = write!(words, ", at least {least}");
        }
        _ => {}
    }
    if let Some(longest) = bound("maxLength") {
        let _ = write!(words, ", at most {longest} characters");
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let _ = write!(words, ", <code>{}</code>", escaped(pattern));
    }
    words
}

/// What a `$ref` stands for, or the value itself.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let at = value["$ref"].as_str().and_then(|at| at.strip_prefix('#'));
    at.and_then(|at| document.pointer(at)).unwrap_or(value)
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.as_str(), value))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// Text with code between backticks, the only markup that descriptions have.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| match at % 2 {
            1 => format!("<code>{}</code>", escaped(part)),
            _ => escaped(part),
        })
        .collect()
}

fn paragraphs(value: &Value) -> String {
    let paragraphs = text(value).split("\n\n").filter(|p| !p.is_empty());
    paragraphs
        .map(|paragraph| format!("<p>{}</p>\n", marked(paragraph)))
        .collect()
}
