//! Many sessions that are opened and then left alone.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::request::Target;

/// Connections that open sessions at the same time.
const OPENING: usize = 32;
/// How many sessions of one owner are opened in a row, so that tokens are verified once, as they are for real clients.
pub(crate) const BLOCK: usize = 100;

/// Opens so many, within a runtime of one thread. `target` is who opens the block of this number.
pub(crate) async fn open(sessions: usize, target: impl Fn(usize) -> Result<Target> + 'static) -> Result<()> {
    let (next, target) = (Rc::new(Cell::new(0)), Rc::new(target));
    let mut opening = JoinSet::new();
    for _ in 0..OPENING {
        let (next, target) = (Rc::clone(&next), Rc::clone(&target));
        opening.spawn_local(async move {
            loop {
                let start = next.get();
                if start >= sessions {
                    return anyhow::Ok(());
                }
                next.set(start + BLOCK);
                let target = target(start / BLOCK)?;
                let mut connection = Connection::open(&target).await?;
                for number in start..(start + BLOCK).min(sessions) {
                    connection.open_session(&target).await.with_context(|| format!("session {number}"))?;
                }
            }
        });
    }
    while let Some(done) = opening.join_next().await {
        done??;
    }
    Ok(())
}
