//! Servers in this process, spoken to over pipes in memory instead of sockets: for the simulation. What goes over the pipes is
//! HTTP as over any other connection. Not compiled into the binary.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

use crate::streamable::Connect;

/// A connection that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

/// Makes connections to a server.
pub trait Dial: fmt::Debug + Send + Sync {
    /// A new connection to who serves this address.
    fn dial(&self, uri: &Uri) -> Dialing;
}

/// Connects by calling somebody.
pub(crate) fn over_pipes(dial: Arc<dyn Dial>, address: Uri) -> Connect {
    Arc::new(move || {
        let dialing = dial.dial(&address);
        Box::pin(async move { Ok(Box::new(TokioIo::new(dialing.await?)) as _) })
    })
}
