//! Every life of one session on two nodes: used by its owner, presented by others, ended on either node, while its row is lost, old or
//! another's, a node that ends it dies at any moment, and the key that sealed it is retired and taken away.
//!
//! Seals, key rings, rows, tombstones, what a node remembers as ended and the last step of admission are the real ones. What the
//! store and the journal do in between are steps, in the order of `sessions.rs`, `restoring.rs`, `ending.rs` and `upkeep.rs`. That
//! what is announced is heard or told as missed within a second is shown by the model of the journal; here it is a step, and the
//! second is over for a node that has none of them waiting.

use bytes::Bytes;
use hawser_mcp::{RawJson, Revision};
use hawser_models::{Model, Sight, assert_holds};
use hawser_owner::{
    Binding, EndpointId, Issuer, KeyRing, KeyRingDocument, Principal, Standing, Subject, SystemEntropy, Timestamp,
};

use super::ended::{Ended, EndedSession};
use crate::claims::{CapabilityBits, SessionClaims, SessionKey};
use crate::record::{self, SessionRecord, StoredSession};

const NODES: usize = 2;
const KEY: SessionKey = SessionKey([7; 16]);
const PATH: &str = "/mcp";
const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
const EXPIRES: Timestamp = Timestamp::from_seconds(1_100_000);
const LIVE: Standing = Standing::Live { last_used: NOW, idle_seconds: 60 };
/// Losses of all rows, and deaths of nodes.
const FAULTS: u8 = 2;

/// What the store has under the session's name.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Row {
    None,
    Live,
    Tombstone,
    /// Of a version before the first.
    Old,
    /// Another owner's.
    Foreign,
    Newer,
}

/// What is on its way to a node.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Word {
    Ended,
    Missed,
}

/// Work that a node has begun.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Doing {
    Nothing,
    /// It has written the tombstone, and has yet to cut off and tell.
    Ending,
    /// It has found this row, and is about to write the session's use in its place.
    Writing(Row),
}

#[derive(Clone, Copy, Debug, Hash)]
struct Node {
    /// Whether it is in memory, and not ended.
    held: bool,
    /// Whether it is known to be over.
    knows: bool,
    /// A look-up is due.
    unchecked: bool,
    word: Option<Word>,
    doing: Doing,
}

const FRESH: Node = Node { held: false, knows: false, unchecked: false, word: None, doing: Doing::Nothing };

#[derive(Clone, Debug, Hash)]
struct World {
    row: Row,
    nodes: [Node; NODES],
    /// The key that sealed the id: active, retired, gone.
    key: usize,
    /// Its end was acknowledged, or a node has heard of it.
    over: bool,
    faults: u8,
    /// A node died between the tombstone and its announcement: who holds the session hears of its end when it is looked up.
    untold: bool,
    last: Option<(Presenter, bool)>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Presenter {
    Owner,
    /// The same subject of another issuer.
    Stranger,
    Anonymous,
    /// The owner, at another endpoint.
    Elsewhere,
}

const PRESENTERS: [Presenter; 4] = [Presenter::Owner, Presenter::Stranger, Presenter::Anonymous, Presenter::Elsewhere];

#[derive(Debug)]
enum Event {
    Presented {
        node: usize,
        by: Presenter,
    },
    /// Its owner ends it, or an administrator: the tombstone is written.
    End(usize),
    /// It is cut off here, and announced.
    Tell(usize),
    Hear(usize),
    LookUp(usize),
    FindUse(usize),
    WriteUse(usize),
    /// Another session needs its place.
    SetAside(usize),
    /// A node dies, and begins anew.
    Die(usize),
    Flush,
    RotateKeys,
}

struct OneSession {
    /// With the key active, retired, and gone.
    rings: Vec<KeyRing>,
    handle: String,
    owner: Principal,
    stranger: Principal,
    record: SessionRecord,
}

impl OneSession {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let secret = |letter: &str| letter.repeat(42) + "A";
        let ring = |keys: serde_json::Value| -> Result<KeyRing, Box<dyn std::error::Error>> {
            let document: KeyRingDocument = serde_json::from_value(serde_json::json!({ "keys": keys }))?;
            Ok(KeyRing::try_from(&document)?)
        };
        let old = |state| serde_json::json!({ "id": 1, "state": state, "secret": secret("A") });
        let new = serde_json::json!({ "id": 2, "state": "active", "secret": secret("B") });
        let rings = vec![
            ring(serde_json::json!([old("active")]))?,
            ring(serde_json::json!([old("retired"), new]))?,
            ring(serde_json::json!([new]))?,
        ];
        let owner = Principal::user(Issuer::new("https://one.example")?, None, Subject::new("same")?);
        let stranger = Principal::user(Issuer::new("https://other.example")?, None, Subject::new("same")?);
        let claims = SessionClaims {
            key: KEY,
            revision: Revision::V2025_11_25,
            capabilities: CapabilityBits::default(),
            idle_seconds: 60,
        };
        let endpoint = EndpointId::of_path(PATH);
        let binding = Binding { endpoint, principal: &owner, issued: NOW, expires: EXPIRES };
        let ring = rings.first().ok_or("no ring")?;
        let (handle, minted) = ring.mint(&binding, claims, &SystemEntropy::new())?;
        let record = SessionRecord {
            owner: minted.owner(),
            endpoint: PATH.to_owned(),
            opened: NOW,
            expires: EXPIRES,
            last_used: NOW,
            grant: None,
            capabilities: RawJson::empty_object(),
            client_info: RawJson::empty_object(),
            log_level: None,
            subscriptions: std::collections::BTreeMap::new(),
        };
        Ok(Self { rings, handle, owner, stranger, record })
    }

    fn read(&self, row: Row) -> Option<StoredSession> {
        let bytes = match row {
            Row::None => return None,
            Row::Live => self.record.to_bytes(),
            Row::Tombstone => record::tombstone(&self.record.owner.to_hex(), PATH, EXPIRES, NOW),
            Row::Old => Bytes::from_static(br#"{"v":0,"terminated":false,"owner":"","endpoint":"/mcp","last_used":1}"#),
            Row::Foreign => {
                let owner = self.rings.first()?.owner_digest(&self.stranger).1;
                SessionRecord { owner, ..self.record.clone() }.to_bytes()
            }
            Row::Newer => Bytes::from_static(br#"{"v":2,"of":"a later release"}"#),
        };
        Some(record::read(&bytes, self.record.owner, PATH))
    }

    /// As a request is admitted: whether it is served.
    fn admit(&self, world: &mut World, node: usize, by: Presenter) -> Result<bool, String> {
        let principal = match by {
            Presenter::Owner | Presenter::Elsewhere => self.owner.clone(),
            Presenter::Stranger => self.stranger.clone(),
            Presenter::Anonymous => Principal::anonymous(),
        };
        let endpoint = EndpointId::of_path(if by == Presenter::Elsewhere { "/elsewhere" } else { PATH });
        let Ok(proven) = self.rings[world.key].open::<SessionClaims>(&self.handle, endpoint, &principal, NOW) else {
            return Ok(false);
        };
        let ended = Ended::default();
        let at = &mut world.nodes[node];
        if at.knows {
            ended.note(KEY, self.ended(), NOW);
        }
        let known = ended.holds(KEY, &proven.owner().to_hex(), PATH, proven.issued());
        let standing = match at.held {
            true => LIVE,
            false if known => Standing::Terminated,
            false => match self.read(world.row) {
                Some(StoredSession::Terminated) => Standing::Terminated,
                Some(StoredSession::Newer) => return Ok(false),
                Some(StoredSession::Foreign) => {
                    world.row = Row::Tombstone;
                    world.over = true;
                    Standing::ForeignRecord
                }
                found => {
                    (at.held, at.unchecked) = (true, found.is_none());
                    LIVE
                }
            },
        };
        let served = proven.admit(standing, NOW).is_ok();
        if served == (standing == LIVE) {
            Ok(served)
        } else {
            Err("admission is not what the standing says".to_owned())
        }
    }

    fn ended(&self) -> EndedSession {
        EndedSession { owner: self.record.owner.to_hex(), endpoint: PATH.to_owned(), expires: EXPIRES }
    }

    fn present(&self, world: &mut World, node: usize, by: Presenter) -> Result<(), String> {
        let (before, key) = (world.clone(), world.key);
        let served = self.admit(world, node, by)?;
        world.last = Some((by, served));
        if by != Presenter::Owner || key == 2 {
            let touched = world.row != before.row || world.nodes[node].held != before.nodes[node].held;
            return if served || touched { Err(format!("{by:?} is served, or changes something")) } else { Ok(()) };
        }
        let told = world.nodes[node].word.is_none() && !world.nodes[node].unchecked;
        if served && before.over && before.row == Row::Tombstone && told && !before.is_untold() {
            return Err("what is over is served, and nobody has yet to hear of it".to_owned());
        }
        if served && !before.nodes[node].held && matches!(before.row, Row::Old | Row::Foreign) {
            return Err("a row that is nobody's is claimed".to_owned());
        }
        if served && before.nodes[node].knows {
            return Err("what this node knows to be over is served".to_owned());
        }
        Ok(())
    }
}

impl World {
    /// Somebody is about to tell that it is over, or died before.
    fn is_untold(&self) -> bool {
        self.untold || self.nodes.iter().any(|node| node.doing == Doing::Ending)
    }

    fn cut_off(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        (at.held, at.knows, at.unchecked) = (false, true, false);
        self.over = true;
    }

    fn announce(&mut self, word: Word) {
        for node in &mut self.nodes {
            // Whoever is told that it missed something looks it up, whatever else it hears.
            node.word = Some(if node.word == Some(Word::Missed) { Word::Missed } else { word });
        }
    }
}

impl Model for OneSession {
    type State = World;
    type Step = Event;
    const NAME: &'static str = "session";

    fn beginnings(&self) -> Vec<World> {
        let rows = [Row::Live, Row::None, Row::Old, Row::Foreign, Row::Newer];
        rows.map(|row| World { row, nodes: [FRESH; NODES], key: 0, over: false, faults: 0, untold: false, last: None })
            .to_vec()
    }

    fn steps(&self, world: &World) -> Vec<Event> {
        let mut steps = Vec::new();
        for (node, at) in world.nodes.iter().enumerate() {
            steps.extend(PRESENTERS.map(|by| Event::Presented { node, by }));
            match at.doing {
                Doing::Nothing if at.held => {
                    steps.extend([Event::End(node), Event::FindUse(node), Event::SetAside(node)]);
                }
                Doing::Nothing => {}
                Doing::Ending => steps.push(Event::Tell(node)),
                Doing::Writing(_) => steps.push(Event::WriteUse(node)),
            }
            steps.extend(at.word.map(|_| Event::Hear(node)));
            steps.extend(at.unchecked.then_some(Event::LookUp(node)));
            steps.extend((world.faults < FAULTS).then_some(Event::Die(node)));
        }
        steps.extend((world.faults < FAULTS).then_some(Event::Flush));
        steps.extend((world.key < 2).then_some(Event::RotateKeys));
        steps
    }

    fn take(&self, world: &mut World, event: &Event) -> Result<(), String> {
        world.last = None;
        match *event {
            Event::Presented { node, by } => self.present(world, node, by)?,
            Event::End(node) => (world.row, world.nodes[node].doing) = (Row::Tombstone, Doing::Ending),
            Event::Tell(node) => {
                world.nodes[node].doing = Doing::Nothing;
                world.cut_off(node);
                world.announce(Word::Ended);
            }
            Event::Hear(node) => match world.nodes[node].word.take() {
                Some(Word::Ended) => world.cut_off(node),
                // What is known to be over is written again, and told again.
                Some(Word::Missed) if world.nodes[node].knows && world.row != Row::Tombstone => {
                    world.row = Row::Tombstone;
                    world.announce(Word::Ended);
                }
                Some(Word::Missed) => world.nodes[node].unchecked = world.nodes[node].held,
                None => {}
            },
            Event::LookUp(node) => match self.read(world.row) {
                Some(StoredSession::Terminated | StoredSession::Foreign) => world.cut_off(node),
                Some(StoredSession::Live(_) | StoredSession::Newer) => world.nodes[node].unchecked = false,
                None if world.nodes[node].knows => {}
                None => (world.row, world.nodes[node].unchecked) = (Row::Live, false),
            },
            Event::FindUse(node) => world.nodes[node].doing = Doing::Writing(world.row),
            Event::WriteUse(node) => {
                let Doing::Writing(found) = std::mem::replace(&mut world.nodes[node].doing, Doing::Nothing) else {
                    return Ok(());
                };
                match self.read(found) {
                    Some(StoredSession::Terminated) => world.cut_off(node),
                    None if world.nodes[node].knows => {}
                    // Compare-and-set.
                    None | Some(StoredSession::Live(_)) if world.row == found => world.row = Row::Live,
                    _ => {}
                }
            }
            Event::SetAside(node) => (world.nodes[node].held, world.nodes[node].unchecked) = (false, false),
            Event::Die(node) => {
                world.untold |= world.nodes[node].doing == Doing::Ending;
                (world.nodes[node], world.faults) = (FRESH, world.faults + 1);
            }
            Event::Flush => {
                (world.row, world.faults) = (Row::None, world.faults + 1);
                world.announce(Word::Missed);
            }
            Event::RotateKeys => world.key += 1,
        }
        Ok(())
    }

    fn sights(&self) -> Vec<Sight<World>> {
        vec![
            ("its owner is served", |world| world.last == Some((Presenter::Owner, true))),
            ("under a retired key too", |world| world.last == Some((Presenter::Owner, true)) && world.key == 1),
            ("without a row", |world| world.last == Some((Presenter::Owner, true)) && world.row == Row::None),
            ("what is over is refused on both nodes", |world| {
                world.last == Some((Presenter::Owner, false)) && world.nodes.iter().all(|node| node.knows)
            }),
            ("what is over is written again after its row was lost", |world| {
                world.faults > 0 && world.over && world.row == Row::Tombstone
            }),
        ]
    }

    fn show(&self, world: &World) -> String {
        let [one, two] = &world.nodes;
        format!("row {:?}, key {}\n       {one:?}\n       {two:?}", world.row, world.key)
    }
}

#[test]
fn none_but_its_owner_is_served_and_nobody_when_it_is_over() -> Result<(), Box<dyn std::error::Error>> {
    assert_holds(&OneSession::new()?);
    Ok(())
}
