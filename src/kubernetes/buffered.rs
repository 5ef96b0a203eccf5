//! Connections to the API server that read much at once: rustls alone asks the kernel for 4 KiB at a time, which is an
//! eighth of a sync's CPU time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    net::TcpStream,
};
use tower::Service;

/// As much as a few TLS records.
const BUFFER: usize = 64 * 1024;

/// A connector whose connections are buffered.
#[derive(Debug, Clone)]
pub(super) struct BufferedConnector<C>(pub(super) C);

impl<C> Service<Uri> for BufferedConnector<C>
where
    C: Service<Uri, Response = TokioIo<TcpStream>, Future: Send + 'static>,
{
    type Response = TokioIo<BufferedStream>;
    type Error = C::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<TokioIo<BufferedStream>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let tcp = connecting.await?.into_inner();
            let stream = BufferedStream(BufReader::with_capacity(BUFFER, tcp));
            Ok(TokioIo::new(stream))
        })
    }
}

/// A TCP connection with a buffer for reading.
#[derive(Debug)]
pub(super) struct BufferedStream(BufReader<TcpStream>);

impl Connection for BufferedStream {
    fn connected(&self) -> Connected {
        self.0.get_ref().connected()
    }
}

impl AsyncRead for BufferedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for BufferedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
