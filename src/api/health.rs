//! `GET /health`: whether this server's copy follows the cluster.

use http::{HeaderValue, Response, StatusCode, header};

use super::{Api, Body};
use crate::kubernetes::Connection;

pub(super) fn get(api: &Api) -> Response<Body> {
    let why = match api.status.connection() {
        Connection::Connected => {
            return Body::json(
                StatusCode::OK,
                r#"{"status":"healthy","kubernetes":"connected"}"#,
            );
        }
        Connection::NotSynced(why) => format!("the copy of the cluster isn't complete yet: {why}"),
        Connection::Lost(why) => why,
    };
    let body = serde_json::json!({ "status": "unhealthy", "error": why });
    // In the contract's order of keys.
    let body = format!(
        r#"{{"status":{},"error":{}}}"#,
        body["status"], body["error"]
    );
    let mut response = Body::json(StatusCode::SERVICE_UNAVAILABLE, body);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
    response
}
