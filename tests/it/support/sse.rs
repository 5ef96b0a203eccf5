//! A watch as a client follows it: server-sent events, and the list that they make.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::time::timeout;

use super::{Answer, Client, documented};

/// Longer than this nothing that is expected takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SseEvent {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// An answer that is read event by event.
pub(crate) struct Events {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    text: Vec<u8>,
    /// The id of the last event, or of a comment since.
    pub(crate) last_id: String,
    /// What the events make of the list: count by namespace and name.
    pub(crate) list: BTreeMap<(String, String), i64>,
}

impl Events {
    /// Opens a watch on a connection of its own.
    pub(crate) async fn open(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let request = client.request(Method::GET, path, headers, "");
        let stream = client.connect().await.unwrap();
        let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        let response = if multiplexed {
            let (mut sender, connection) =
                http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            timeout(PATIENCE, sender.send_request(request)).await
        } else {
            let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(io).await.unwrap();
            tokio::spawn(connection);
            timeout(PATIENCE, sender.send_request(request)).await
        };
        let (parts, body) = response.unwrap().unwrap().into_parts();
        if parts.status == StatusCode::OK {
            let begun = Answer {
                status: parts.status,
                headers: parts.headers.clone(),
                body: Bytes::new(),
            };
            documented::check(&Method::GET, &format!("/api/v1{path}"), &begun);
        }
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            text: Vec::new(),
            last_id: String::new(),
            list: BTreeMap::new(),
        }
    }

    /// The next event; `None` once the stream has ended as it should.
    pub(crate) async fn next(&mut self) -> Option<SseEvent> {
        timeout(PATIENCE, self.read())
            .await
            .expect("an event in time")
    }

    async fn read(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(event) = self.take(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
                continue;
            }
            let frame = self.body.frame().await?;
            self.text.extend(frame.unwrap().into_data().unwrap());
        }
    }

    fn take(&mut self, block: &str) -> Option<SseEvent> {
        let (mut name, mut data) = (None, None);
        for line in block
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with(':'))
        {
            match line.split_once(": ").unwrap() {
                ("event", value) => name = Some(value.to_owned()),
                ("id", value) => value.clone_into(&mut self.last_id),
                ("data", value) => data = Some(serde_json::from_str::<Value>(value).unwrap()),
                ("retry", value) => drop(value.parse::<u64>().unwrap()),
                _ => panic!("{line}"),
            }
        }
        let event = SseEvent {
            name: name?,
            id: self.last_id.clone(),
            data: data.unwrap(),
        };
        let key = |d: &Value| {
            let text = |field: &str| d[field].as_str().unwrap().to_owned();
            (text("namespace"), text("name"))
        };
        let count = |d: &Value| d["replicaCount"].as_i64().unwrap();
        match &*event.name {
            "snapshot" => {
                let all = event.data.as_array().unwrap().iter();
                self.list = all.map(|d| (key(d), count(d))).collect();
            }
            "deleted" => drop(self.list.remove(&key(&event.data))),
            "added" | "changed" => {
                self.list.insert(key(&event.data), count(&event.data));
            }
            other => panic!("{other}"),
        }
        Some(event)
    }

    /// The next event as `name namespace/name=count`.
    pub(crate) async fn told(&mut self) -> String {
        let Some(SseEvent { name, data, .. }) = self.next().await else {
            return "end".into();
        };
        if name == "snapshot" {
            return format!("snapshot of {}", data.as_array().unwrap().len());
        }
        let text = |field: &str| data[field].as_str().unwrap();
        let (namespace, of) = (text("namespace"), text("name"));
        format!("{name} {namespace}/{of}={}", data["replicaCount"])
    }
}
