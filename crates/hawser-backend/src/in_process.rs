//! Servers in this process, spoken to over pipes in memory instead of sockets: for the simulation. What goes over the pipes is
//! HTTP as over any other connection. Not compiled into the binary.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tower::Service;

/// A connection that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

/// Makes connections to a server.
pub trait Dial: fmt::Debug + Send + Sync {
    /// A new connection to who serves this address.
    fn dial(&self, uri: &Uri) -> Dialing;
}

/// Connects by calling somebody.
#[derive(Clone, Debug)]
pub(crate) struct Dialer(pub(crate) Arc<dyn Dial>);

impl Service<Uri> for Dialer {
    type Response = Pipe;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialing = self.0.dial(&uri);
        Box::pin(async move { dialing.await.map(|stream| Pipe(TokioIo::new(stream))) })
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Pipe(TokioIo<DuplexStream>);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
