//! Every history of one family that is short enough: a client of two processes that share what they hold, answers that are lost,
//! requests that are late, a thief who once copied a token. What the family says is held against what really happened.

use hawser_models::{Model, Sight, assert_holds};

use super::*;

const TICK: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(100);
const LIFETIME: Duration = Duration::from_secs(160);
/// Time passes so often; beyond the end of the family's life.
const TICKS_MAX: u8 = 9;
/// The chain is not followed further.
const HEAD_MAX: u64 = 4;

/// One policy, and how many requests of the client may be on their way.
struct OneFamily {
    policy: Policy,
    processes: usize,
}

/// A family, and what is true of it.
#[derive(Clone, Debug, Hash)]
struct World {
    family: Family,
    ticks: u8,
    /// The generation in the client's keeping; its processes share it.
    client: u64,
    /// Requests of the client's processes on their way.
    sent: Vec<Sent>,
    /// The generation that the thief holds.
    thief: Option<u64>,
    /// Whether the thief has presented it or used an access token: from then on the family may be revoked.
    interfered: bool,
    /// Ticks in which the generations from the first on were rotated away.
    rotated: Vec<u8>,
    /// Whether the head, or an access token that came with it, came back.
    head_seen: bool,
    revoked: bool,
    last: Option<Decision>,
}

/// A request that has not come yet.
#[derive(Clone, Copy, Debug, Hash)]
struct Sent {
    generation: u64,
    tick: u8,
    /// The answer to an earlier request with this generation was lost.
    retry: bool,
    /// Another retry was answered since. The one case in which nothing is promised to an honest client: two of its processes retry
    /// what was lost, and the first uses its answer before the second is heard, later than the grace period after the rotation.
    overtaken: bool,
}

#[derive(Debug)]
enum Event {
    /// Twenty seconds.
    TimePasses,
    /// A process of the client sends what is in its keeping.
    Send,
    /// The oldest or the newest request on its way comes, and its answer too.
    Comes {
        newest: bool,
    },
    /// The same, but the answer is lost.
    ComesAndAnswerIsLost {
        newest: bool,
    },
    /// A request is lost.
    IsLost,
    /// The client uses an access token of the generation it holds.
    ClientUsesToken,
    ThiefCopies,
    /// The thief refreshes, and goes on with what it got.
    ThiefRefreshes,
    ThiefUsesToken,
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_000_000).plus(TICK * u32::from(self.ticks))
    }

    /// What really happened, told of a generation: how it may be judged.
    fn expected(&self, presented: u64, policy: &Policy) -> fn(Decision) -> bool {
        if self.revoked {
            return |decision| decision == Decision::Revoked;
        }
        if presented == self.family.head {
            return |decision| matches!(decision, Decision::Rotate | Decision::SameHead(SameHead::Kept));
        }
        let rotated = self.rotated.get(usize::try_from(presented).map_or(0, |number| number - 1));
        let ago = TICK * u32::from(self.ticks - rotated.copied().unwrap_or(self.ticks));
        let in_grace = !policy.grace.is_zero() && ago <= policy.grace;
        let unseen = presented + 1 == self.family.head && !self.head_seen;
        if in_grace || unseen {
            |decision| matches!(decision, Decision::SameHead(SameHead::Grace | SameHead::LostResponse))
        } else {
            |decision| decision == Decision::Reuse
        }
    }

    /// A refresh as the authorization server does it, by compare-and-set: at once. Gives the head that is answered.
    fn refresh(&mut self, presented: u64, policy: &Policy) -> Result<Option<u64>, String> {
        let now = self.now();
        let decision = self.family.decide(presented, now, policy);
        let after = self.family.after(decision, now, policy);
        self.last = Some(decision);
        if decision == Decision::Expired {
            return if after == self.family { Ok(None) } else { Err("what has expired is changed".to_owned()) };
        }
        if !self.expected(presented, policy)(decision) {
            return Err(format!("generation {presented} of head {} is judged {decision:?}", self.family.head));
        }
        match decision {
            Decision::Rotate => {
                self.rotated.push(self.ticks);
                self.head_seen = false;
            }
            Decision::SameHead(SameHead::Kept) => self.head_seen = true,
            Decision::SameHead(_) => self.sent.iter_mut().for_each(|sent| sent.overtaken |= sent.retry),
            Decision::Reuse => self.revoked = true,
            Decision::Expired | Decision::Revoked => {}
        }
        self.family = after;
        if self.revoked != self.family.revoked || self.family.head != self.rotated.len() as u64 + 1 {
            return Err("the family is not what it was judged to be".to_owned());
        }
        Ok((!self.revoked).then_some(self.family.head))
    }

    fn use_token(&mut self, generation: u64) -> Result<(), String> {
        self.family = self.family.after_use_of(generation);
        self.head_seen |= generation == self.family.head;
        if self.family.head_seen == self.head_seen { Ok(()) } else { Err("a use is not noted".to_owned()) }
    }

    fn comes(&mut self, newest: bool, answered: bool, policy: &Policy) -> Result<(), String> {
        let request = self.sent.remove(if newest { self.sent.len() - 1 } else { 0 });
        let answer = self.refresh(request.generation, policy)?;
        self.interfered |= request.overtaken && self.revoked;
        if !self.interfered && self.revoked {
            return Err("an honest client is taken for a thief".to_owned());
        }
        if answered {
            self.client = answer.unwrap_or(0).max(self.client);
        }
        Ok(())
    }
}

impl Model for OneFamily {
    type State = World;
    type Step = Event;
    const NAME: &'static str = "refresh family";

    fn beginnings(&self) -> Vec<World> {
        let world = World {
            family: Family::start(Timestamp::from_seconds(1_000_000), IDLE, LIFETIME),
            ticks: 0,
            client: FIRST_GENERATION,
            sent: Vec::new(),
            thief: None,
            interfered: false,
            rotated: Vec::new(),
            head_seen: false,
            revoked: false,
            last: None,
        };
        vec![world]
    }

    fn steps(&self, world: &World) -> Vec<Event> {
        let mut steps = Vec::new();
        // An honest request comes within the grace period, or never.
        let late = |sent: &Sent| TICK * u32::from(world.ticks + 1 - sent.tick) > self.policy.grace;
        if world.ticks < TICKS_MAX && !world.sent.iter().any(late) {
            steps.push(Event::TimePasses);
        }
        let further = world.family.head < HEAD_MAX;
        if world.sent.len() < self.processes && further {
            steps.push(Event::Send);
        }
        for newest in (0..world.sent.len().min(2)).map(|number| number == 1) {
            steps.extend([Event::Comes { newest }, Event::ComesAndAnswerIsLost { newest }]);
        }
        if !world.sent.is_empty() {
            steps.push(Event::IsLost);
        }
        steps.push(Event::ClientUsesToken);
        if world.thief.is_none() {
            steps.push(Event::ThiefCopies);
        } else {
            steps.push(Event::ThiefUsesToken);
            steps.extend(further.then_some(Event::ThiefRefreshes));
        }
        steps
    }

    fn take(&self, world: &mut World, event: &Event) -> Result<(), String> {
        world.last = None;
        match event {
            Event::TimePasses => world.ticks += 1,
            Event::Send => {
                let retry = world.client < world.family.head;
                world.sent.push(Sent { generation: world.client, tick: world.ticks, retry, overtaken: false });
            }
            Event::Comes { newest } => world.comes(*newest, true, &self.policy)?,
            Event::ComesAndAnswerIsLost { newest } => world.comes(*newest, false, &self.policy)?,
            Event::IsLost => drop(world.sent.remove(0)),
            Event::ClientUsesToken => world.use_token(world.client)?,
            Event::ThiefCopies => world.thief = Some(world.client),
            Event::ThiefUsesToken => {
                world.interfered = true;
                world.use_token(world.thief.unwrap_or_default())?;
            }
            Event::ThiefRefreshes => {
                world.interfered = true;
                if let Some(head) = world.refresh(world.thief.unwrap_or_default(), &self.policy)? {
                    world.thief = Some(head);
                }
            }
        }
        Ok(())
    }

    fn judge(&self, world: &World) -> Result<(), String> {
        if world.family.absolute_expires != Timestamp::from_seconds(1_000_000).plus(LIFETIME) {
            return Err("the family's end is moved".to_owned());
        }
        if world.family.rotations.len() > world.rotated.len() {
            return Err("a rotation is remembered that never was".to_owned());
        }
        Ok(())
    }

    fn sights(&self) -> Vec<Sight<World>> {
        let mut sights: Vec<Sight<World>> = vec![
            ("an answer that was lost is given again", |world| {
                world.last == Some(Decision::SameHead(SameHead::LostResponse)) && !world.interfered
            }),
            ("a thief is found out", |world| world.last == Some(Decision::Reuse)),
            ("what is revoked stays so", |world| world.last == Some(Decision::Revoked)),
            ("a family is over by time", |world| world.last == Some(Decision::Expired)),
        ];
        if !self.policy.grace.is_zero() {
            sights.push(("two processes refresh at once", |world| {
                world.last == Some(Decision::SameHead(SameHead::Grace)) && !world.interfered
            }));
        }
        sights
    }

    fn show(&self, world: &World) -> String {
        let World { family, ticks, client, thief, sent, .. } = world;
        let (head, seen) = (family.head, if family.head_seen { "seen" } else { "unseen" });
        let thief = thief.map_or(String::new(), |thief| format!(", thief {thief}"));
        let sent: Vec<_> = sent.iter().map(|sent| sent.generation).collect();
        format!("{} s: head {head} {seen}; client {client}{thief}; on their way {sent:?}", u32::from(*ticks) * 20)
    }
}

#[test]
fn a_client_of_two_processes_with_a_grace_period() {
    let policy = Policy { grace: Duration::from_secs(30), idle: IDLE, rotation: Rotation::EveryUse };
    assert_holds(&OneFamily { policy, processes: 2 });
}

#[test]
fn a_client_of_one_process_without_a_grace_period() {
    let policy = Policy { grace: Duration::ZERO, idle: IDLE, rotation: Rotation::EveryUse };
    assert_holds(&OneFamily { policy, processes: 1 });
}

#[test]
fn a_client_that_authenticates() {
    let policy = Policy { grace: Duration::from_secs(30), idle: IDLE, rotation: Rotation::LateInLife };
    assert_holds(&OneFamily { policy, processes: 2 });
}
