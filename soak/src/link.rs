//! The network between one node and the store: a TCP relay that stalls, delays or cuts when it is told to.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weather {
    /// Everything passes at once.
    Fair,
    /// Everything takes this long.
    Slow(Duration),
    /// Connections stay, and nothing passes.
    Stalled,
    /// Connections are closed, and new ones too.
    Cut,
}

/// One relay.
pub(crate) struct Link {
    address: String,
    weather: watch::Sender<Weather>,
}

impl Link {
    /// A relay to `target` on a free port.
    pub(crate) async fn to(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the link to the store")?;
        let address = listener.local_addr()?.to_string();
        let (weather, watching) = watch::channel(Weather::Fair);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), watching.clone()));
            }
        });
        Ok(Self { address, weather })
    }

    /// Where the node connects to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Changes the weather.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(client: TcpStream, target: String, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(store) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), store.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_store, to_store) = store.into_split();
    let (there, back) = (weather.clone(), weather.clone());
    tokio::select! {
        () = pass(from_client, to_store, there) => {}
        () = pass(from_store, to_client, back) => {}
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let now = *weather.borrow();
        if let Weather::Slow(by) = now {
            tokio::time::sleep(by).await;
        }
        if weather.wait_for(|weather| *weather != Weather::Stalled).await.is_err() {
            return;
        }
        if to.write_all(chunk.get(..read).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::{Result, ensure};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Link, Weather};

    #[tokio::test]
    async fn what_is_stalled_passes_later_and_what_is_cut_is_closed() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let link = Link::to(listener.local_addr()?.to_string()).await?;
        let mut near = TcpStream::connect(link.address()).await?;
        let (mut far, _) = listener.accept().await?;
        near.write_all(b"1").await?;
        ensure!(far.read_u8().await? == b'1');

        link.set(Weather::Stalled);
        near.write_all(b"2").await?;
        ensure!(tokio::time::timeout(Duration::from_millis(200), far.read_u8()).await.is_err());
        link.set(Weather::Fair);
        ensure!(far.read_u8().await? == b'2');

        link.set(Weather::Cut);
        ensure!(near.read(&mut [0]).await.is_ok_and(|read| read == 0) && far.read(&mut [0]).await? == 0);
        let mut refused = TcpStream::connect(link.address()).await?;
        ensure!(!matches!(refused.read(&mut [0]).await, Ok(1..)));
        Ok(())
    }
}
