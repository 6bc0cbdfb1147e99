//! Every way in which a follower can hear, or miss, what two others announce: over a channel that loses, delays and doubles, with
//! announcers that die between their steps, and a store that loses all its rows or its latest ones.
//!
//! The promise is that of the journal: an announcement that was made, its row written, is told or told as missed, after two looks at
//! the latest. A look is one step here; what comes between its parts is told by the tests beside this.

use std::collections::{BTreeMap, BTreeSet};

use hawser_models::{Model, Sight, assert_holds};

use super::progress::{Look, Progress, Verdict};

/// Announcements in all.
const ANNOUNCEMENTS: u8 = 3;
/// Of two nodes, as they come to it.
const ANNOUNCERS: usize = 2;
/// Where the counter begins, and how far ahead it begins anew.
const FIRST: u64 = 1 << 56;
const ANEW: u64 = 1_000_000;

struct OneJournal {
    /// Whether the store may lose all its rows; otherwise the latest, as when a replica takes over.
    flushed: bool,
}

/// An announcement that is under way.
#[derive(Clone, Copy, Debug, Hash)]
enum Making {
    /// It has its number.
    Numbered(u64, u8),
    /// Its row is written.
    Written(u64, u8),
}

#[derive(Clone, Debug, Hash)]
struct World {
    progress: Progress,
    counter: u64,
    rows: BTreeMap<u64, u8>,
    making: Vec<Making>,
    /// On their way over the channel.
    published: BTreeSet<(u64, u8)>,
    made: u8,
    /// Announcements that were promised and not told: how often it was looked since.
    owed: BTreeMap<u8, u8>,
    /// What was told.
    told: BTreeSet<u8>,
    missed: bool,
    /// The store has lost rows.
    faulty: bool,
    /// An announcer died after it had its number, or was looked at before its row was there. Together with a number that is given
    /// twice, since the latest row was lost, that cannot be seen.
    slow: bool,
    last: Option<Heard>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Heard {
    OverTheChannel,
    ByLooking,
    AsMissed,
}

#[derive(Debug)]
enum Event {
    /// Somebody takes a number for an announcement.
    Number,
    Write(usize),
    Publish(usize),
    /// The announcer ends, or its message is lost on the way to the channel.
    Die(usize),
    Comes {
        number: u64,
        content: u8,
        again: bool,
    },
    IsLost {
        number: u64,
        content: u8,
    },
    Look,
    Flush,
    /// A replica takes over that lacks the latest announcement.
    FailOver,
}

impl World {
    fn tell(&mut self, content: u8, how: Heard) {
        self.owed.remove(&content);
        self.told.insert(content);
        self.last = Some(how);
    }

    fn miss(&mut self) {
        self.owed.clear();
        self.missed = true;
        self.last = Some(Heard::AsMissed);
    }

    fn compare(&mut self) {
        if let Some(number) = self.progress.comparable() {
            self.progress.compare(number, self.rows.get(&number).copied().as_ref().map(std::slice::from_ref));
        }
    }

    /// As a follower does it (`Follower::catch_up`).
    fn look(&mut self) -> Result<(), String> {
        for looks in self.owed.values_mut() {
            *looks += 1;
        }
        self.compare();
        let numbers = match self.progress.look(self.counter) {
            Look::Read(numbers) => numbers,
            Look::Missed => {
                self.miss();
                self.compare();
                return Ok(());
            }
        };
        for number in numbers {
            let entry = self.rows.get(&number).copied();
            match (self.progress.read(number, entry.as_ref().map(std::slice::from_ref)), entry) {
                (Verdict::Tell, Some(content)) => self.tell(content, Heard::ByLooking),
                (Verdict::Missed, _) => self.miss(),
                (Verdict::Tell, None) => return Err("what is not there is told".to_owned()),
                _ => {}
            }
        }
        match self.owed.iter().find(|(_, looks)| **looks >= 2) {
            Some((content, _)) => Err(format!("announcement {content} is not told after two looks")),
            None => Ok(()),
        }
    }

    fn hear(&mut self, number: u64, content: u8) -> Result<(), String> {
        if self.progress.hear(number, &[content]) == Verdict::Tell {
            self.tell(content, Heard::OverTheChannel);
        } else if !self.told.contains(&content) && !self.missed {
            return Err(format!("announcement {content} is taken for one that was told"));
        }
        Ok(())
    }
}

impl Model for OneJournal {
    type State = World;
    type Step = Event;
    const NAME: &'static str = "journal";

    fn beginnings(&self) -> Vec<World> {
        let mut progress = Progress::default();
        progress.begin_at(FIRST);
        vec![World {
            progress,
            counter: FIRST,
            rows: BTreeMap::new(),
            making: Vec::new(),
            published: BTreeSet::new(),
            made: 0,
            owed: BTreeMap::new(),
            told: BTreeSet::new(),
            missed: false,
            faulty: false,
            slow: false,
            last: None,
        }]
    }

    fn steps(&self, world: &World) -> Vec<Event> {
        let mut steps = vec![Event::Look];
        if world.made < ANNOUNCEMENTS && world.making.len() < ANNOUNCERS {
            steps.push(Event::Number);
        }
        for (at, making) in world.making.iter().enumerate() {
            steps.push(match making {
                Making::Numbered(..) => Event::Write(at),
                Making::Written(..) => Event::Publish(at),
            });
            steps.push(Event::Die(at));
        }
        for &(number, content) in &world.published {
            steps.extend([true, false].map(|again| Event::Comes { number, content, again }));
            steps.push(Event::IsLost { number, content });
        }
        if !world.faulty {
            if self.flushed {
                steps.push(Event::Flush);
            } else if world.counter > FIRST && !world.slow && world.making.is_empty() {
                steps.push(Event::FailOver);
            }
        }
        steps
    }

    fn take(&self, world: &mut World, event: &Event) -> Result<(), String> {
        world.last = None;
        match *event {
            Event::Number => {
                world.counter += 1;
                world.made += 1;
                world.making.push(Making::Numbered(world.counter, world.made));
            }
            Event::Write(at) => {
                if let Making::Numbered(number, content) = world.making[at] {
                    world.rows.insert(number, content);
                    world.making[at] = Making::Written(number, content);
                    // Who looked meanwhile was told that it missed something, if it looked twice.
                    let unseen = !self.flushed && world.faulty && world.slow;
                    if !world.told.contains(&content) && !world.missed && !unseen {
                        world.owed.insert(content, 0);
                    }
                }
            }
            Event::Publish(at) => {
                if let Making::Written(number, content) = world.making.remove(at) {
                    world.published.insert((number, content));
                }
            }
            Event::Die(at) => {
                world.slow |= matches!(world.making.remove(at), Making::Numbered(..));
            }
            Event::Comes { number, content, again } => {
                if !again {
                    world.published.remove(&(number, content));
                }
                world.hear(number, content)?;
            }
            Event::IsLost { number, content } => {
                world.published.remove(&(number, content));
            }
            Event::Look => {
                world.slow |= world.faulty && world.making.iter().any(|making| matches!(making, Making::Numbered(..)));
                world.look()?;
            }
            Event::Flush => {
                world.faulty = true;
                world.rows.clear();
                // As `first_number` has it: the next to come begins it anew, later than any number that was given.
                world.counter += ANEW;
            }
            Event::FailOver => {
                world.faulty = true;
                if let Some(content) = world.rows.remove(&world.counter) {
                    world.owed.remove(&content);
                }
                world.counter -= 1;
            }
        }
        Ok(())
    }

    fn sights(&self) -> Vec<Sight<World>> {
        vec![
            ("something is heard over the channel", |world| world.last == Some(Heard::OverTheChannel)),
            ("something is found by looking", |world| world.last == Some(Heard::ByLooking)),
            ("something is told as missed", |world| world.last == Some(Heard::AsMissed)),
            ("all are told, after the store lost rows", |world| world.faulty && world.told.len() == 3),
        ]
    }

    fn show(&self, world: &World) -> String {
        let World { counter, rows, making, published, owed, told, .. } = world;
        let numbers: Vec<_> = rows.keys().map(|number| number - FIRST).collect();
        let counter = counter - FIRST;
        format!(
            "number {counter}, rows {numbers:?}, {making:?}, on their way {published:?}; told {told:?}, owed {owed:?}"
        )
    }
}

#[test]
fn what_is_announced_is_told_or_told_as_missed_though_all_rows_are_lost() {
    assert_holds(&OneJournal { flushed: true });
}

#[test]
fn what_is_announced_is_told_or_told_as_missed_though_the_latest_row_is_lost() {
    assert_holds(&OneJournal { flushed: false });
}
