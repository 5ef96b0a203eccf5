//! Calls one after the other over one connection, which is opened for the first and again when the server has closed it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinHandle, time::Instant};

use super::{ANSWERED, Client, ClientError, ServerAddress};

/// No answer is longer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path, percent-encoded, with the query.
    pub path: String,
    /// Headers beside those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON body, if there is one.
    pub body: Option<String>,
}

impl Call {
    /// `GET` of a path.
    #[must_use]
    pub fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: None,
        }
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Answer {
    /// A header's first value, if it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Calls that share a connection.
#[derive(Debug)]
pub struct Session<'c> {
    pub(super) client: &'c Client,
    pub(super) open: Option<Open>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) sender: SendRequest<Full<Bytes>>,
    ended: JoinHandle<hyper::Result<()>>,
}

impl Open {
    pub(super) async fn connect(client: &Client, deadline: Instant) -> Result<Self, ClientError> {
        let stream = client.connect(deadline).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::of(&client.server, &error))?;
        Ok(Self {
            sender,
            ended: tokio::spawn(connection),
        })
    }

    /// Why a request had no answer: the connection's own error says more than that of the request which it took along.
    pub(super) async fn ended_with(
        self,
        server: &ServerAddress,
        error: &hyper::Error,
    ) -> ClientError {
        let Self { sender, ended } = self;
        drop(sender);
        match ended.await {
            Ok(Err(ended)) => ClientError::of(server, &ended),
            _ => ClientError::of(server, error),
        }
    }
}

impl Session<'_> {
    /// Sends a call and waits `patience` for its answer, connecting included.
    ///
    /// # Errors
    /// When there is no answer in time: the server can't be reached, isn't trusted, doesn't let this client in, or hangs up.
    pub async fn send(&mut self, call: &Call, patience: Duration) -> Result<Answer, ClientError> {
        let client = Client {
            patience,
            ..self.client.clone()
        };
        let deadline = Instant::now() + patience;
        let kept = self.open.take_if(|open| !open.sender.is_closed());
        let reused = kept.is_some();
        match self.once(&client, kept, call, deadline).await {
            // The server may have closed the connection just then, which asks nothing of a read.
            Err(ClientError::Ended { .. }) if reused && call.method.is_safe() => {
                self.once(&client, None, call, deadline).await
            }
            done => done,
        }
    }

    async fn once(
        &mut self,
        client: &Client,
        kept: Option<Open>,
        call: &Call,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let mut open = match kept {
            Some(open) => open,
            None => Open::connect(client, deadline).await?,
        };
        let answer = async {
            let request = request(client, call)?;
            let answer = match open.sender.send_request(request).await {
                Ok(answer) => answer,
                Err(error) => return Err(open.ended_with(&client.server, &error).await),
            };
            let (parts, body) = answer.into_parts();
            let answer = Answer {
                status: parts.status,
                headers: parts.headers,
                body: body_of(client, body).await?,
            };
            Ok((answer, open))
        };
        let (answer, open) = client.within(deadline, ANSWERED, answer).await?;
        self.open = Some(open);
        Ok(answer)
    }
}

/// The request of a call.
pub(super) fn request(client: &Client, call: &Call) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut request = Request::builder()
        .method(&call.method)
        .uri(&call.path)
        .header(header::HOST, client.server.authority())
        .header(
            header::USER_AGENT,
            concat!("headcount/", env!("CARGO_PKG_VERSION")),
        );
    for (name, value) in &call.headers {
        // As bytes: a reason may be any UTF-8.
        request = request.header(*name, value.as_bytes());
    }
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = Bytes::from(call.body.clone().unwrap_or_default());
    request
        .body(Full::new(body))
        .map_err(|error| ClientError::of(&client.server, &error))
}

/// A body, whole.
pub(super) async fn body_of(client: &Client, body: Incoming) -> Result<Bytes, ClientError> {
    let whole = Limited::new(body, LONGEST_ANSWER).collect().await;
    let whole = whole.map_err(|error| ClientError::of(&client.server, &*error))?;
    Ok(whole.to_bytes())
}
