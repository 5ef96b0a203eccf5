//! An answer that is read while it is written, over a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::{
    ANSWERED, Answer, Call, Client, ClientError,
    session::{Open, body_of, request},
};

/// An answer that goes on.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    body: Incoming,
    // The connection lives as long as it.
    _open: Open,
}

/// What a server answered to a call for a stream.
#[derive(Debug)]
pub enum Followed {
    /// A success: the stream.
    Stream(Stream),
    /// Anything else, whole.
    Answer(Answer),
}

impl Client {
    /// Sends a call, and waits as long as for any answer until one begins.
    ///
    /// # Errors
    /// As [`Session::send`](super::Session::send).
    pub async fn follow(&self, call: &Call) -> Result<Followed, ClientError> {
        let deadline = Instant::now() + self.patience;
        let mut open = Open::connect(self, deadline).await?;
        let answered = async {
            let request = request(self, call)?;
            match open.sender.send_request(request).await {
                Ok(answer) => Ok((answer, open)),
                Err(error) => Err(open.ended_with(&self.server, &error).await),
            }
        };
        let (answer, open) = self.within(deadline, ANSWERED, answered).await?;
        let (parts, body) = answer.into_parts();
        if parts.status.is_success() {
            return Ok(Followed::Stream(Stream {
                client: self.clone(),
                body,
                _open: open,
            }));
        }
        let body = self.within(deadline, ANSWERED, body_of(self, body)).await?;
        Ok(Followed::Answer(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }))
    }
}

impl Stream {
    /// What comes next, or nothing if the server has ended the stream; it waits so long.
    ///
    /// # Errors
    /// When nothing comes, and when the connection ends in the middle.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Ok(frame) = timeout(patience, self.body.frame()).await else {
                return Err(ClientError::Late {
                    server: self.client.server.clone(),
                    what: "said anything",
                    patience,
                });
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::of(&self.client.server, &error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
