//! Idle sessions are small: the slope between two sizes of a crowd. `cargo xtask crowd` opens a million.

use std::time::Duration;

use anyhow::{Result, ensure};
use hawser_tests::crowd::{Crowd, Rows, Size, bytes_per_session};

/// An idle session, its row in the store included, since the store is in the same process here. The promise is 1024 for the
/// session alone.
const BYTES_MAX: u64 = 2048;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_small_and_a_crowd_of_them_slows_nobody() -> Result<()> {
    let size = Size { sessions: 12_000, owners: 120 };
    let mut crowd = Crowd::gather(Rows::Memory, size).await?;
    crowd.grow(2_000, |_| {}).await?;
    let few = crowd.measure(Duration::from_secs(1)).await?;
    crowd.grow(size.sessions, |_| {}).await?;
    let many = crowd.measure(Duration::from_secs(1)).await?;
    let bytes = bytes_per_session(&few, &many);
    ensure!(bytes <= BYTES_MAX, "an idle session costs {bytes} bytes: {few:?}, {many:?}");
    ensure!(bytes > 100, "{bytes} bytes cannot be true: {few:?}, {many:?}");
    Ok(())
}
