//! What a server of one revision says, as a client of another understands it. Applied once, at the gateway's exit.

mod content;
mod entries;
mod errors;
mod forms;
mod notifications;
mod questions;
mod results;

pub use entries::entry;
pub use errors::{error, url_elicitations};
pub use notifications::notification;
pub use questions::server_request;
pub use results::{complete, result, with_server_info};
