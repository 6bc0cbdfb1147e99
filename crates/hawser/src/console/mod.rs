//! What the terminal shows.

mod banner;
mod paint;

pub use banner::{Listening, ListeningBackend, ListeningEndpoint, banner, ready_line};
pub use paint::Paint;
