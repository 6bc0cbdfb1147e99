//! Several backends as one: names, conflicts and merged lists.
//!
//! A tool or prompt is exposed as `<backend>_<name>`, always, so that adding a backend never renames anything. Backend names
//! hold no underscore, so the exposed name alone tells where a call goes: no index has to be built before the first call, and
//! a backend that is down keeps its names. Resources keep their URIs, since those also occur where no gateway can rewrite them
//! (links inside results); they are routed by what the backends listed.
//!
//! Pure functions over raw list entries; no I/O.

mod merge;
mod naming;
mod resources;
mod template;

pub use merge::{MergedList, NameWarning, Source, merge};
pub use naming::{EXPOSED_NAME_CHARS_MAX, Naming, NamingError, Routed, Router};
pub use resources::ResourceIndex;
pub use template::UriTemplate;
