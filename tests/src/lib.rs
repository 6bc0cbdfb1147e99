//! What the black-box tests stand on: the real `hawser` binary, and around it clients, servers and issuers that nobody
//! here wrote, each as a process of its own on loopback.
//!
//! Everything here is started on a free port, waited for by a condition with a limit, and stopped by its process id.
//! What cannot be started is an error that says how to install it; nothing is skipped.

mod answer;
mod capture;
mod changing_backend;
pub mod crowd;
mod entry;
mod everything;
mod fixture;
mod gateway;
mod inspector;
mod legacy;
mod modern;
mod nodes;
mod odd_backend;
mod oidc;
mod person;
mod places;
mod process;
mod raw_http;
mod recorder;
mod schema;
mod sdk_client;
mod stage;
mod stdio;
mod token_issuer;
mod tool;
mod written_backend;

pub use answer::{Answer, EventReader, StreamEvent};
pub use capture::{Capture, Captured, Sender, Side};
pub use changing_backend::{ChangingBackend, Stated};
pub use entry::{Entry, SERVED_BY};
pub use everything::Everything;
pub use fixture::{Fixture, Speaks};
pub use gateway::{Gateway, Hawser, quick_hash, time_backend};
pub use hawser_fixture_valkey::{Cluster, Options as RedisOptions, RedisServer, Reply as RedisReply, Watched};
pub use inspector::{Inspection, inspect};
pub use legacy::{LEGACY, Legacy};
pub use modern::{Answers, MODERN, Modern, Outgoing, encode_header, retry_of};
pub use nodes::Nodes;
pub use odd_backend::{Mood, OddBackend, Script, Seen, odd_stdio};
pub use oidc::Oidc;
pub use person::Person;
pub use places::{hawser, node, package_file, python, script, sibling, target_dir};
pub use process::{Process, until};
pub use raw_http::{RawAnswer, exchange};
pub use recorder::{Ended, Exchange, Recorder};
pub use schema::Schemas;
pub use sdk_client::{SdkClient, Who};
pub use stage::Stage;
pub use stdio::{StdioConfiguration, StdioGateway};
pub use token_issuer::TokenIssuer;
pub use tool::{called_text, text_of};
pub use written_backend::{Writing, WrittenBackend, WrittenCall};
