//! `hawser keys …`: the life of a key ring's keys, one step at a time, with what to do next.
//!
//! The commands change a file and nothing else: each node reads its own copy. What would log people out is refused unless it is
//! asked for by name.

mod told;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hawser_owner::{KeyId, KeyRingDocument, KeyState, StepError, SystemEntropy, Timestamp};

use self::told::{Told, show};
use crate::cli::{KeyArgs, KeyStepArgs, KeysCommand, RemoveKeyArgs, RingArgs};
use crate::config::{self, Overrides, Settings};
use crate::failure::Failure;
use crate::key_ring_file::{self, KEY_RING_FILE, RingFileError};
use crate::operate;

/// How long a key should have been published before it is activated: several times what a node takes to read its file.
const PUBLISHED_LONG_ENOUGH: Duration = Duration::from_mins(1);
/// The longest life of a handle that no configuration shortens: a task's id.
const TASK_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// For clocks that differ, and for rows that are kept a little longer than what they tell of.
const MARGIN: Duration = Duration::from_hours(1);

/// Does what the command says, and returns what to print.
pub fn run(command: &KeysCommand) -> Result<String, Failure> {
    let now = Timestamp::from(SystemTime::now());
    match command {
        KeysCommand::Generate(args) => generate(args, now),
        KeysCommand::List(args) => {
            let ring = Place::of(args)?;
            let document = key_ring_file::read(&ring.path)?;
            show(&Told::of(&ring, &document, None, now), args.json)
        }
        KeysCommand::Add(args) => step(args, now, |document, ring| {
            let id = document.add(&SystemEntropy::new(), now).map_err(|error| Failure::run(error.to_string()))?;
            Ok(Done::new(id, format!("key {id} is published: it opens, and does not seal yet")).next([
                "copy the file to every node; a node reads it within two seconds, or at a SIGHUP".to_owned(),
                format!("wait until every node has logged `the key ring was read again` with `{id} published`"),
                ring.command(&format!("activate {id}")),
            ]))
        }),
        KeysCommand::Activate(args) => step(&args.ring, now, |document, ring| activate(document, ring, args, now)),
        KeysCommand::Retire(args) => step(&args.ring, now, |document, ring| {
            let id = KeyId(args.id);
            document.retire(id, now).map_err(refused)?;
            Ok(Done::new(id, format!("key {id} is retired: it still opens, and is not to be activated"))
                .next(["copy the file to every node".to_owned(), ring.command(&format!("remove {id}"))]))
        }),
        KeysCommand::Signing(command) => operate::signing_keys(command),
        KeysCommand::Remove(args) => step(&args.step.ring, now, |document, ring| remove(document, ring, args, now)),
    }
}

fn generate(args: &KeyArgs, now: Timestamp) -> Result<String, Failure> {
    let document = KeyRingDocument::generate(&SystemEntropy::new())
        .map_err(|error| Failure::run(format!("cannot make a key ring: {error}")))?
        .dated(now);
    let Some(path) = &args.file else {
        let json = key_ring_file::to_json(&document)?;
        return Ok(String::from_utf8_lossy(&json).into_owned());
    };
    key_ring_file::create(path, &document)?;
    let text = format!("a new key ring is in {}", path.display());
    let done = document.keys.first().map(|key| Done::new(key.id, text)).map(|done| {
        done.next([
            format!(
                "say `key_ring: file:{}` in the configuration of every node, and copy the file there",
                path.display()
            ),
            "keep a copy where you keep other secrets: without it all sessions and stored secrets are lost".to_owned(),
        ])
    });
    let ring = Place { path: path.clone(), named: true, settings: None };
    show(&Told::of(&ring, &document, done, now), args.json)
}

fn activate(document: &mut KeyRingDocument, ring: &Place, args: &KeyStepArgs, now: Timestamp) -> Result<Done, Failure> {
    let id = KeyId(args.id);
    let young = document.key(id).is_ok_and(|key| key.state == KeyState::Published)
        && document.age(id, now).is_none_or(|age| age < PUBLISHED_LONG_ENOUGH);
    let before = document.keys.iter().find(|key| key.state == KeyState::Active).map(|key| key.id);
    document.activate(id, now).map_err(refused)?;
    let mut done = Done::new(id, format!("key {id} is active: new handles and secrets are sealed with it"));
    if young {
        done.warnings.push(format!(
            "key {id} was published less than a minute ago: where several nodes share the ring, one that does not have it \
             yet refuses what the others make under it until it does"
        ));
    }
    Ok(done.next([
        "copy the file to every node; they may learn of it one after the other".to_owned(),
        match before {
            Some(before) => {
                format!("leave key {before} there until `hawser keys list` says that it is not needed any more")
            }
            None => ring.command("list"),
        },
    ]))
}

fn remove(document: &mut KeyRingDocument, ring: &Place, args: &RemoveKeyArgs, now: Timestamp) -> Result<Done, Failure> {
    let id = KeyId(args.step.id);
    let key = document.key(id).map_err(refused)?;
    let needed = ring.needed().zip(document.age(id, now)).map(|(needed, age)| needed.saturating_sub(age));
    if key.state == KeyState::Retired && !args.force && needed != Some(Duration::ZERO) {
        let message = match needed {
            Some(needed) => format!("key {id} may still be needed for {}", told::in_words(needed)),
            None => format!("it is not known how long key {id} is still needed"),
        };
        let hint = "whoever has a session or login that was sealed with it would have to start anew; with --force it is \
                    removed all the same";
        return Err(Failure::run_with_hint(message, hint));
    }
    document.remove(id).map_err(refused)?;
    Ok(Done::new(id, format!("key {id} is removed: what was sealed with it is refused"))
        .next(["copy the file to every node".to_owned()]))
}

/// What a step did, and what comes after it.
#[derive(Debug)]
struct Done {
    key: KeyId,
    text: String,
    warnings: Vec<String>,
    next: Vec<String>,
}

impl Done {
    const fn new(key: KeyId, text: String) -> Self {
        Self { key, text, warnings: Vec::new(), next: Vec::new() }
    }

    fn next(mut self, next: impl IntoIterator<Item = String>) -> Self {
        self.next.extend(next);
        self
    }
}

fn step(
    args: &RingArgs,
    now: Timestamp,
    take: impl FnOnce(&mut KeyRingDocument, &Place) -> Result<Done, Failure>,
) -> Result<String, Failure> {
    let ring = Place::of(args)?;
    let (document, done) = key_ring_file::edit(&ring.path, |document| take(document, &ring))?;
    show(&Told::of(&ring, &document, Some(done), now), args.json)
}

/// Where a ring is, and what is known of how it is used.
struct Place {
    path: PathBuf,
    /// Whether the command line named it.
    named: bool,
    settings: Option<Settings>,
}

impl Place {
    /// The file that is named, else the one that the configuration leads to. Of a file that is named alone it is not known how
    /// long its keys are needed.
    fn of(args: &RingArgs) -> Result<Self, Failure> {
        if let (Some(path), None) = (&args.file, &args.config) {
            return Ok(Self { path: path.clone(), named: true, settings: None });
        }
        let data_dir = args.data_dir.clone().filter(|dir| !dir.as_os_str().is_empty());
        let overrides = Overrides { data_dir, ..Overrides::default() };
        let settings = config::load(args.config.as_deref(), &overrides)?.settings;
        let path = match (&args.file, &settings.key_ring) {
            (Some(path), _) => path.clone(),
            (None, None) => settings.data_dir.join(KEY_RING_FILE),
            (None, Some(configured)) => configured.file.clone().ok_or_else(|| {
                Failure::run_with_hint(
                    "the configured key ring comes from an environment variable, which only its keeper can change",
                    "write its value to a file, name the file here, and put the result back",
                )
            })?,
        };
        Ok(Self { path, named: args.file.is_some(), settings: Some(settings) })
    }

    /// How long a key is needed after it sealed for the last time, if the configuration is known.
    fn needed(&self) -> Option<Duration> {
        let settings = self.settings.as_ref()?;
        let grants = settings.authorization_server.as_ref().map_or(Duration::ZERO, |server| server.refresh_lifetime);
        Some(settings.sessions.lifetime.max(grants).max(TASK_LIFETIME) + MARGIN)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// A command for this ring, to be typed next.
    fn command(&self, what: &str) -> String {
        if self.named { format!("hawser keys {what} {}", self.path.display()) } else { format!("hawser keys {what}") }
    }
}

impl From<RingFileError> for Failure {
    fn from(error: RingFileError) -> Self {
        let hint = match &error {
            RingFileError::Missing { .. } => {
                "name its file; a gateway makes one at its first start, and `hawser keys generate FILE` makes one for several"
            }
            RingFileError::Exists { .. } => {
                "a new key ring would lose all sessions; to replace a key, `hawser keys add`"
            }
            RingFileError::Busy { .. } => "run the command again when the other one is done",
            RingFileError::Write { .. } => "run the command as the user that the file and its folder belong to",
            RingFileError::Syntax { .. } | RingFileError::Unusable { .. } => {
                "restore the file from a backup; without it all sessions and stored secrets are lost"
            }
            _ => return Self::run(error.to_string()),
        };
        Self::run_with_hint(error.to_string(), hint)
    }
}

fn refused(error: StepError) -> Failure {
    let hint = match error {
        StepError::Unknown(_) => "`hawser keys list` shows which there are".to_owned(),
        StepError::Active(_) => {
            "activate another key first: `hawser keys add`, then `hawser keys activate ID`".to_owned()
        }
        StepError::Already(..) => "nothing was changed".to_owned(),
    };
    Failure::run_with_hint(error.to_string(), hint)
}
