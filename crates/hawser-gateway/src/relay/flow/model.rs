//! Every way in which a short answer can come, or not: over a channel that loses, doubles, delays and reorders, with a small window.
//!
//! The answer is a head, a piece and the end, the window two pieces. On its way are at most so many words each way; what is said
//! beyond that is lost, as any word may be, so many times. Time passes in steps of two
//! beats.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use hawser_models::{Model, Sight, assert_holds};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::super::frame::{Piece, Word};
use super::{Answering, Asking, PeerGone, Read, SILENCE};

/// Pieces that may be unread or on their way.
const NARROW: u32 = 2;
/// Words on their way to either side.
const ON_THEIR_WAY: usize = 2;
/// Words that the channel loses or doubles, and times that who asks is told that it may have missed some.
const FAULTS: u8 = 1;
/// Time passes in steps of two beats.
const STEP: Duration = Duration::from_secs(4);
/// And so many of them: one more than silence lasts.
const STEPS: u8 = 3;
/// Steps until everything that is still possible has happened, where nothing is lost any more.
const SETTLED: usize = 60;

fn answer() -> [Piece; 3] {
    let data = |text: &'static str| Piece::Data(Bytes::from_static(text.as_bytes()));
    [Piece::Head(StatusCode::OK, HeaderMap::new()), data("one"), Piece::End]
}

/// One answer, between both sides.
struct OneAnswer;

/// The node that answers.
#[derive(Clone, Debug)]
enum There {
    /// The request is on its way to it.
    NotYet,
    Answers(Answering),
    /// It is over; what is said of it is answered with that.
    Over,
}

#[derive(Clone)]
struct World {
    now: Instant,
    asking: Asking,
    there: There,
    /// Pieces that were taken from who makes the answer.
    made: usize,
    to_there: Vec<Word>,
    to_here: Vec<Word>,
    read: usize,
    outcome: Option<Read>,
    /// Who asked has told its caller that nothing was begun.
    withdrawn: bool,
    lossy: bool,
    faults: u8,
    passed: u8,
}

#[derive(Debug)]
enum Event {
    RequestComes,
    RequestIsLost,
    /// This one of the words on their way comes, and maybe it comes once more.
    ToThere {
        nth: usize,
        again: bool,
    },
    ToHere {
        nth: usize,
        again: bool,
    },
    LostToThere(usize),
    LostToHere(usize),
    Read,
    /// Four seconds.
    TimePasses,
    /// Who asks learns that messages may have been lost.
    Missed,
    /// Who asks has waited long enough for a sign.
    Withdraw,
}

impl Event {
    const fn is_fault(&self) -> bool {
        match self {
            Self::ToThere { again, .. } | Self::ToHere { again, .. } => *again,
            Self::LostToThere(_) | Self::LostToHere(_) | Self::Missed => true,
            Self::RequestComes | Self::RequestIsLost | Self::Read | Self::TimePasses | Self::Withdraw => false,
        }
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.asking.shape(self.now).hash(hasher);
        std::mem::discriminant(&self.there).hash(hasher);
        if let There::Answers(answering) = &self.there {
            answering.shape(self.now).hash(hasher);
        }
        (self.made, self.read, self.withdrawn, self.lossy, self.faults, self.passed).hash(hasher);
        // Which of what is on its way comes first is a step, so their order is nothing.
        for way in [&self.to_there, &self.to_here] {
            way.iter().map(|word| format!("{word:?}")).collect::<BTreeSet<_>>().hash(hasher);
            way.len().hash(hasher);
        }
        format!("{:?}", self.outcome).hash(hasher);
    }
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            asking: Asking::narrow(now, NARROW),
            there: There::NotYet,
            made: 0,
            to_there: Vec::new(),
            to_here: Vec::new(),
            read: 0,
            outcome: None,
            withdrawn: false,
            lossy: false,
            faults: 0,
            passed: 0,
        }
    }

    fn say_there(&mut self, word: impl IntoIterator<Item = Word>) {
        send(&mut self.to_there, word, &mut self.lossy);
    }

    fn say_here(&mut self, word: impl IntoIterator<Item = Word>) {
        send(&mut self.to_here, word, &mut self.lossy);
    }

    fn request_comes(&mut self) {
        let mut answering = Answering::narrow(self.now, NARROW);
        let word = answering.beat(self.now);
        self.there = There::Answers(answering);
        self.say_here([word]);
    }

    fn hear_there(&mut self, word: Word) {
        match (&mut self.there, word) {
            (There::Answers(answering), Word::Window(window)) => answering.window(self.now, window),
            (There::Answers(_), Word::Leave) => self.there = There::Over,
            (There::Over, Word::Window(_)) => self.say_here([Word::Gone]),
            _ => {}
        }
    }

    fn hear_here(&mut self, word: Word) {
        let reply = self.asking.hear(self.now, word);
        self.say_there(reply);
    }

    /// Who answers makes its answer as far as there is room, and sends what may be sent.
    fn work(&mut self) -> Result<(), String> {
        let There::Answers(answering) = &mut self.there else { return Ok(()) };
        if !answering.is_wanted() {
            return Ok(());
        }
        if self.withdrawn {
            return Err("what was withdrawn is begun".to_owned());
        }
        let mut said = Vec::new();
        loop {
            said.extend(std::iter::from_fn(|| answering.pop(self.now)));
            let Some(piece) = answer().into_iter().nth(self.made).filter(|_| answering.has_room()) else { break };
            answering.push(piece);
            self.made += 1;
        }
        if answering.is_done() {
            self.there = There::Over;
        }
        self.say_here(said);
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let (read, word) = self.asking.read(self.now);
        self.say_there(word);
        match read {
            Read::Piece(piece) => {
                if answer().get(self.read) != Some(&piece) {
                    return Err(format!("piece {} is read as {piece:?}", self.read));
                }
                self.read += 1;
            }
            Read::Nothing => {}
            Read::End if self.read + 1 != answer().len() => {
                return Err("an answer is cut, and looks complete".to_owned());
            }
            over => self.outcome = Some(over),
        }
        Ok(())
    }

    fn time(&mut self) {
        self.now += STEP;
        let word = self.asking.tick(self.now);
        self.say_there(word);
        if let There::Answers(answering) = &mut self.there {
            match answering.tick(self.now) {
                Ok(word) => self.say_here(word),
                Err(PeerGone) => self.there = There::Over,
            }
        }
    }

    fn withdraw(&mut self) {
        if self.asking.over().is_none() && self.asking.withdraw() {
            self.withdrawn = true;
            self.say_there([Word::Leave]);
        }
    }

    /// From now on nothing is lost, all comes in order, and the reader reads.
    fn settle(&mut self) -> Result<(), String> {
        if matches!(self.there, There::NotYet) {
            self.request_comes();
        }
        for _ in 0..SETTLED {
            if !self.to_there.is_empty() {
                let word = self.to_there.remove(0);
                self.hear_there(word);
            } else if !self.to_here.is_empty() {
                let word = self.to_here.remove(0);
                self.hear_here(word);
            } else {
                let before = self.read;
                self.read()?;
                if self.outcome.is_some() && !matches!(self.there, There::Answers(_)) {
                    return Ok(());
                }
                if self.read == before && self.to_there.is_empty() {
                    self.time();
                    // Its caller has waited for long enough.
                    self.withdraw();
                }
            }
            self.work()?;
        }
        if self.withdrawn { Ok(()) } else { Err(format!("it never ends: {:?}, {:?}", self.asking, self.there)) }
    }
}

fn send(way: &mut Vec<Word>, words: impl IntoIterator<Item = Word>, lossy: &mut bool) {
    for word in words {
        if way.len() < ON_THEIR_WAY {
            way.push(word);
        } else {
            *lossy = true;
        }
    }
}

fn take(way: &mut Vec<Word>, at: usize, again: bool) -> Word {
    if again { way[at].clone() } else { way.remove(at) }
}

impl Model for OneAnswer {
    type State = World;
    type Step = Event;
    const NAME: &'static str = "relayed answer";
    const STATES_MAX: usize = 600_000;

    fn beginnings(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn steps(&self, world: &World) -> Vec<Event> {
        let mut steps = Vec::new();
        if world.outcome.is_some() {
            return steps;
        }
        if matches!(world.there, There::NotYet) {
            steps.extend([Event::RequestComes, Event::RequestIsLost]);
        }
        let faulty = world.faults < FAULTS;
        for nth in 0..world.to_there.len() {
            steps.push(Event::ToThere { nth, again: false });
            steps.extend(faulty.then_some(Event::ToThere { nth, again: true }));
            steps.extend(faulty.then_some(Event::LostToThere(nth)));
        }
        for nth in 0..world.to_here.len() {
            steps.push(Event::ToHere { nth, again: false });
            steps.extend(faulty.then_some(Event::ToHere { nth, again: true }));
            steps.extend(faulty.then_some(Event::LostToHere(nth)));
        }
        if !world.asking.is_accepted() && world.asking.over().is_none() {
            steps.push(Event::Withdraw);
        }
        steps.push(Event::Read);
        steps.extend((world.passed < STEPS).then_some(Event::TimePasses));
        steps.extend(faulty.then_some(Event::Missed));
        steps
    }

    fn take(&self, world: &mut World, event: &Event) -> Result<(), String> {
        world.faults += u8::from(event.is_fault());
        match *event {
            Event::RequestComes => world.request_comes(),
            Event::RequestIsLost => (world.there, world.lossy) = (There::Over, true),
            Event::ToThere { nth, again } => {
                let said = take(&mut world.to_there, nth, again);
                world.hear_there(said);
            }
            Event::ToHere { nth, again } => {
                let said = take(&mut world.to_here, nth, again);
                world.hear_here(said);
            }
            Event::LostToThere(nth) => {
                world.to_there.remove(nth);
                world.lossy = true;
            }
            Event::LostToHere(nth) => {
                world.to_here.remove(nth);
                world.lossy = true;
            }
            Event::Read => world.read()?,
            Event::TimePasses => {
                world.passed += 1;
                world.time();
            }
            Event::Missed => {
                let said = world.asking.missed(world.now);
                world.say_there(said);
            }
            Event::Withdraw => world.withdraw(),
        }
        world.work()
    }

    fn judge(&self, world: &World) -> Result<(), String> {
        let kept = if let There::Answers(answering) = &world.there { answering.kept() } else { 0 };
        if world.asking.unread() > NARROW as usize || kept > NARROW as usize {
            return Err("more is held than the window allows".to_owned());
        }
        if world.outcome.is_some() {
            return Ok(());
        }
        let mut settled = world.clone();
        settled.settle()?;
        let both = world.asking.is_accepted() && world.asking.over().is_none();
        let fresh = |heard| world.now.duration_since(heard) + STEP < SILENCE;
        let alive = match &world.there {
            There::Answers(answering) => fresh(answering.heard()) && fresh(world.asking.heard()),
            There::NotYet | There::Over => false,
        };
        if both && alive && settled.outcome != Some(Read::End) {
            return Err(format!("what was lost does not come again: {:?}", settled.outcome));
        }
        Ok(())
    }

    fn sights(&self) -> Vec<Sight<World>> {
        vec![
            ("an answer is whole", |world| world.outcome == Some(Read::End) && !world.lossy),
            ("an answer is whole although words were lost", |world| world.outcome == Some(Read::End) && world.lossy),
            ("an answer breaks in the middle", |world| {
                matches!(world.outcome, Some(Read::Broken(_))) && world.read > 0
            }),
            ("a request comes after it was withdrawn", |world| {
                world.withdrawn && matches!(world.there, There::Answers(_))
            }),
        ]
    }

    fn show(&self, world: &World) -> String {
        let World { to_there, to_here, read, outcome, asking, there, .. } = world;
        format!(
            "read {read}, outcome {outcome:?}; to there {to_there:?}, to here {to_here:?}\n       {asking:?}\n       {there:?}"
        )
    }
}

#[test]
fn an_answer_is_complete_and_in_order_or_an_error() {
    assert_holds(&OneAnswer);
}
