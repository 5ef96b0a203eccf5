//! One call: everything that the document says of it.

use serde_json::Value;
use utoipa::openapi::{
    Content, HttpMethod, Ref, RefOr, Required, Response, Schema,
    example::ExampleBuilder,
    path::{Operation, OperationBuilder},
    request_body::RequestBodyBuilder,
};

use super::{answers, batches, reads, writes};

/// A method of a path.
pub(super) struct Call {
    pub(super) method: HttpMethod,
    /// Below `/api/v1`.
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// Names in `components.parameters`, beside those of every call.
    pub(super) parameters: Vec<&'static str>,
    pub(super) body: Option<RequestBody>,
    /// Answers of its own: successes, and failures with a body of another form.
    pub(super) answers: Vec<(u16, Response)>,
    /// Statuses of failures beside those of every call.
    pub(super) failures: Vec<u16>,
}

/// The body that a call takes.
pub(super) struct RequestBody {
    pub(super) schema: &'static str,
    pub(super) required: bool,
    /// Names and values.
    pub(super) examples: Vec<(&'static str, Value)>,
}

/// Every call, in the document's order.
pub(super) fn all() -> Vec<Call> {
    let mut all = reads::of_deployments();
    all.extend(writes::all());
    all.extend(batches::all());
    all.extend(reads::of_the_server());
    all
}

impl Call {
    pub(super) fn operation(self) -> Operation {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .tag(self.tag)
            .summary(Some(self.summary))
            .description(Some(self.description));
        for name in self
            .parameters
            .iter()
            .chain(&["X-Request-Id", "traceparent"])
        {
            operation =
                operation.parameter_ref(Ref::new(format!("#/components/parameters/{name}")));
        }
        if let Some(body) = self.body {
            let required = if body.required {
                Required::True
            } else {
                Required::False
            };
            let mut content = Content::new(Some(schema(body.schema)));
            for (name, value) in body.examples {
                let example = ExampleBuilder::new().value(Some(value)).build();
                content.examples.insert(name.into(), RefOr::T(example));
            }
            let body = RequestBodyBuilder::new()
                .required(Some(required))
                .content("application/json", content)
                .build();
            operation = operation.request_body(Some(body));
        }
        let own: Vec<u16> = self.answers.iter().map(|(status, _)| *status).collect();
        for (status, answer) in self.answers {
            operation = operation.response(status.to_string(), answer);
        }
        let failures = self.failures.iter().chain(&answers::OF_EVERY_CALL);
        for status in failures.filter(|status| !own.contains(status)) {
            let name = format!("#/components/responses/{status}");
            operation = operation.response(status.to_string(), Ref::new(name));
        }
        operation.build()
    }
}

/// A reference to one of the schemas.
pub(super) fn schema(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}
