//! Which encoding a client asked for.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::Status;

/// The encodings that the simulation speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

impl Encoding {
    /// The first acceptable clause of the highest `q`; JSON when there is no `Accept`.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Self, Status> {
        let values: Vec<&str> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let accept = values.join(",");
        if accept.trim().is_empty() {
            return Ok(Self::Json);
        }
        let mut best: Option<(f32, Self)> = None;
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let encoding = match parts.next().unwrap_or_default() {
                JSON | "*/*" | "application/*" => Self::Json,
                PROTOBUF => Self::Protobuf,
                _ => continue,
            };
            let mut quality = 1.0;
            let mut transformed = false;
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("q", q)) => quality = q.parse().unwrap_or(1.0),
                    // Tables and partial metadata aren't offered: the next clause, or the plain object.
                    Some(("as", _)) => transformed = true,
                    _ => {}
                }
            }
            if !transformed && quality > best.map_or(0.0, |(q, _)| q) {
                best = Some((quality, encoding));
            }
        }
        best.map(|(_, encoding)| encoding).ok_or_else(|| {
            let message = format!(
                "only the following media types are accepted: {JSON}, application/yaml, {PROTOBUF}"
            );
            Status::new(406, "NotAcceptable", message)
        })
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    pub(crate) fn watch_content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    pub(crate) fn status(self, status: &Status) -> Vec<u8> {
        match self {
            Self::Json => status.to_json(),
            Self::Protobuf => crate::wire::status(status),
        }
    }
}
