//! Every way in which a parked call can be taken up again: by two retries at once, on the node that holds it or through another, by
//! strangers, by other clients, with other parameters, after it made way, after its node has ended.
//!
//! The seal of its state, the digest of its request and the table it waits in are the real ones; which node a retry comes to, and
//! what becomes of it on the way, are steps. What a retry does is told in the order of `input.rs`, `state.rs` and `elsewhere.rs`.

use std::time::Duration;

use hawser_mcp::RawJson;
use hawser_models::{Model, Sight, assert_holds};
use hawser_owner::{
    Binding, EndpointId, Issuer, KeyRing, KeyRingDocument, Principal, Standing, Subject, SystemEntropy, Timestamp,
};

use super::super::request_state::{RequestDigest, RequestState, Waits};
use crate::claims::SessionKey;
use crate::relay::NodeName;
use crate::waiting::Waiting;

/// Retries that are made in all, of every kind.
const RETRIES: u8 = 3;
const PATIENCE: Duration = Duration::from_mins(10);
const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
const HOLDER: NodeName = NodeName::from_bytes([1; 8]);
const SESSION: SessionKey = SessionKey([7; 16]);

/// Who retries, and what.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Retrier {
    Owner,
    /// Another subject of the same issuer, with the state that it stole.
    Stranger,
    Anonymous,
    /// The owner, through another client.
    OtherClient,
    /// The owner, with another argument than the one that was parked.
    OtherParams,
}

const RETRIERS: [Retrier; 5] =
    [Retrier::Owner, Retrier::Stranger, Retrier::Anonymous, Retrier::OtherClient, Retrier::OtherParams];

/// What a retry was answered.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Answered {
    GoesOn,
    NotWaiting,
    Invalid,
    TryLater,
}

#[derive(Clone, Debug, Hash)]
struct World {
    /// Whether the call still waits in the table of the node that holds it.
    waits: bool,
    holder_runs: bool,
    /// Retries that came to the other node and are on their way to the holder.
    carried: Vec<Retrier>,
    retries: u8,
    /// How often the call was given out.
    taken: u8,
    last: Option<Answered>,
}

#[derive(Debug)]
enum Event {
    AtTheHolder(Retrier),
    Elsewhere(Retrier),
    /// What was carried comes; `again`: the other node heard nothing, and sends it once more.
    Comes {
        at: usize,
        again: bool,
    },
    /// It does not come, or its answer does not.
    IsLost(usize),
    /// The store cannot carry it.
    NotNow(usize),
    /// It has waited for too long, or others waited and it made way.
    MakesWay,
    HolderEnds,
}

struct OneCall {
    ring: KeyRing,
    endpoint: EndpointId,
    owner: Principal,
    stranger: Principal,
    state: String,
}

impl OneCall {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let ring = KeyRing::try_from(&KeyRingDocument::generate(&SystemEntropy::new())?)?;
        let issuer = Issuer::new("https://issuer.example")?;
        let owner = Principal::user(issuer.clone(), None, Subject::new("owner")?);
        let stranger = Principal::user(issuer, None, Subject::new("stranger")?);
        let endpoint = EndpointId::of_path("/mcp");
        let request = digest(Retrier::Owner).ok_or("no digest")?;
        let state = RequestState { request, waits: Waits::Parked { node: HOLDER, session: SESSION, number: 1 } };
        let binding = Binding { endpoint, principal: &owner, issued: NOW, expires: NOW.plus(PATIENCE) };
        let (state, _) = ring.mint(&binding, state, &SystemEntropy::new())?;
        Ok(Self { ring, endpoint, owner, stranger, state })
    }

    fn principal(&self, retrier: Retrier) -> Principal {
        match retrier {
            Retrier::Stranger => self.stranger.clone(),
            Retrier::Anonymous => Principal::anonymous(),
            Retrier::Owner | Retrier::OtherClient | Retrier::OtherParams => self.owner.clone(),
        }
    }

    /// The state that a retry presents, if its seal is good for whoever it is.
    fn opened(&self, retrier: Retrier) -> Option<RequestState> {
        let principal = self.principal(retrier);
        let proven = self.ring.open::<RequestState>(&self.state, self.endpoint, &principal, NOW).ok()?;
        let owned = proven.admit(Standing::Live { last_used: NOW, idle_seconds: 0 }, NOW).ok()?;
        Some((*owned).clone())
    }

    /// A retry at the node that holds the call, whichever way it came there.
    fn at_the_holder(&self, world: &mut World, retrier: Retrier) -> Result<(), String> {
        let Some(state) = self.opened(retrier).filter(|state| Some(state.request) == digest(retrier)) else {
            world.last = Some(Answered::Invalid);
            return Ok(());
        };
        let Waits::Parked { node: HOLDER, session: SESSION, number } = state.waits else {
            return Err("the state says something else than was sealed".to_owned());
        };
        let table = Waiting::new(0, 4, PATIENCE);
        table.put(client(Retrier::Owner)).map_err(|_| "there is no room")?;
        if !world.waits {
            table.take(number);
        }
        world.last = Some(match table.take_if(number, |parked| *parked == client(retrier)) {
            Ok(_) if retrier != Retrier::Owner => return Err(format!("a parked call is given to {retrier:?}")),
            Ok(_) => {
                (world.waits, world.taken) = (false, world.taken + 1);
                Answered::GoesOn
            }
            Err(_) => Answered::NotWaiting,
        });
        if world.waits == table.is_empty() {
            return Err("a retry that was refused costs the call".to_owned());
        }
        Ok(())
    }
}

const fn client(retrier: Retrier) -> &'static str {
    if matches!(retrier, Retrier::OtherClient) { "another" } else { "client" }
}

fn digest(retrier: Retrier) -> Option<RequestDigest> {
    let argument = if retrier == Retrier::OtherParams { "other" } else { "same" };
    let params = serde_json::json!({ "name": "tool", "arguments": { "a": argument }, "requestState": "x" });
    RequestDigest::of(Some(client(retrier)), "tools/call", &RawJson::from_serialize(&params).ok()?).ok()
}

impl Model for OneCall {
    type State = World;
    type Step = Event;
    const NAME: &'static str = "parked call";

    fn beginnings(&self) -> Vec<World> {
        vec![World { waits: true, holder_runs: true, carried: Vec::new(), retries: 0, taken: 0, last: None }]
    }

    fn steps(&self, world: &World) -> Vec<Event> {
        let mut steps = Vec::new();
        if world.retries < RETRIES {
            steps.extend(RETRIERS.iter().filter(|_| world.holder_runs).map(|retrier| Event::AtTheHolder(*retrier)));
            steps.extend(RETRIERS.map(Event::Elsewhere));
        }
        for at in 0..world.carried.len() {
            if world.holder_runs {
                steps.extend([false, true].map(|again| Event::Comes { at, again }));
            }
            steps.extend([Event::IsLost(at), Event::NotNow(at)]);
        }
        if world.holder_runs {
            steps.extend([Event::MakesWay, Event::HolderEnds]);
        }
        steps
    }

    fn take(&self, world: &mut World, event: &Event) -> Result<(), String> {
        world.last = None;
        match *event {
            Event::AtTheHolder(retrier) => {
                world.retries += 1;
                self.at_the_holder(world, retrier)?;
            }
            Event::Elsewhere(retrier) => {
                world.retries += 1;
                // Carried over only if it is this owner's; anybody else is refused where it arrives.
                match self.opened(retrier).map(|state| state.waits) {
                    Some(Waits::Parked { node, .. }) if node == HOLDER => world.carried.push(retrier),
                    _ => world.last = Some(Answered::Invalid),
                }
            }
            Event::Comes { at, again } => {
                let retrier = if again { world.carried[at] } else { world.carried.remove(at) };
                self.at_the_holder(world, retrier)?;
            }
            // A node that does not answer has ended: the retry is answered as one of a lost call.
            Event::IsLost(at) => {
                world.carried.remove(at);
                world.last = Some(Answered::NotWaiting);
            }
            Event::NotNow(at) => {
                world.carried.remove(at);
                world.last = Some(Answered::TryLater);
            }
            Event::MakesWay => world.waits = false,
            Event::HolderEnds => (world.holder_runs, world.waits) = (false, false),
        }
        if world.taken > 1 { Err("a parked call is given out twice".to_owned()) } else { Ok(()) }
    }

    fn judge(&self, world: &World) -> Result<(), String> {
        let foreign = world.carried.iter().any(|retrier| matches!(retrier, Retrier::Stranger | Retrier::Anonymous));
        if foreign { Err("a stranger's retry is carried to another node".to_owned()) } else { Ok(()) }
    }

    fn sights(&self) -> Vec<Sight<World>> {
        vec![
            ("its owner takes it up", |world| world.last == Some(Answered::GoesOn) && world.carried.is_empty()),
            ("its owner takes it up through another node, in time before a second retry", |world| {
                world.last == Some(Answered::GoesOn) && world.retries == 2 && world.carried == [Retrier::Owner]
            }),
            ("the second of two retries finds nothing", |world| {
                world.last == Some(Answered::NotWaiting) && world.taken == 1
            }),
            ("a retry is refused", |world| world.last == Some(Answered::Invalid)),
            ("its node has ended", |world| world.last == Some(Answered::NotWaiting) && !world.holder_runs),
        ]
    }
}

#[test]
fn a_parked_call_is_taken_up_once_and_by_its_owner_alone() -> Result<(), Box<dyn std::error::Error>> {
    assert_holds(&OneCall::new()?);
    Ok(())
}
