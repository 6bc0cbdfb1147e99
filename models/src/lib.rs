//! Looks at every state that a small model can come to.
//!
//! A model is a state machine of which a part is the product's own code and the rest, network, store, time and people, is told
//! in a few steps. [`check`] takes every step in every state, the nearest first, until nothing new is found: so a rule that held
//! holds in every order of those steps, and one that broke is shown by a shortest way there.
//!
//! Two states are the same if everything that they hash is the same. The hashed bytes themselves are compared, not a digest of
//! them, so no state is taken for another by chance. What a search never came to is not proved by it: a model names what it must
//! come to ([`Model::sights`]), and is wrong if it does not.
//!
//! Models are tests in modules named `model`, beside the code that they hold to its rules; `cargo xtask sim` runs them by that name.

mod visited;

use std::any::Any;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use visited::{Origin, Visited};

/// A state machine that is small enough to be looked at as a whole.
pub trait Model {
    /// Everything that what happens next depends on, and nothing else.
    type State: Clone + Hash;
    /// Something that can happen. Shown in a counterexample.
    type Step: fmt::Debug;

    /// The name under which it is reported.
    const NAME: &'static str;
    /// The most states that it is meant to have: one with more is not looked at to its end, and fails.
    const STATES_MAX: usize = 2_000_000;

    /// Where it may begin.
    fn beginnings(&self) -> Vec<Self::State>;

    /// What can happen in a state. The same state always gives the same steps in the same order.
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;

    /// Lets it happen; tells if a rule was broken by it.
    fn take(&self, state: &mut Self::State, step: &Self::Step) -> Result<(), String>;

    /// Rules about a state as such.
    fn judge(&self, _state: &Self::State) -> Result<(), String> {
        Ok(())
    }

    /// What must be seen in some state, so that the rules are known to be about something.
    fn sights(&self) -> Vec<Sight<Self::State>>;

    /// A state as a reader of a counterexample wants to see it.
    fn show(&self, _state: &Self::State) -> String {
        String::new()
    }
}

/// What is to be seen, and how it is recognised.
pub type Sight<S> = (&'static str, fn(&S) -> bool);

/// How much was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps that were taken.
    pub steps: usize,
    /// Steps on the shortest way to the farthest state.
    pub depth: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, {} steps, {} deep", self.states, self.steps, self.depth)
    }
}

/// Why a model does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A rule is broken, and how one comes there: each step, and the state after it.
    Broken {
        /// The rule.
        rule: String,
        /// From a beginning on.
        way: Vec<String>,
    },
    /// These were never seen.
    NeverSeen(Vec<&'static str>),
    /// There are more states than it is meant to have.
    TooLarge(usize),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { rule, way } => {
                writeln!(f, "{rule}")?;
                way.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "  {number:3}. {step}"))
            }
            Self::NeverSeen(sights) => write!(f, "never seen: {}", sights.join("; ")),
            Self::TooLarge(states) => write!(f, "more than {states} states"),
        }
    }
}

/// Looks at every state of a model.
pub fn check<M: Model>(model: &M) -> Result<Explored, Failure> {
    let mut search = Search { model, visited: Visited::default(), sights: model.sights(), next: Vec::new(), steps: 0 };
    for (number, state) in model.beginnings().into_iter().enumerate() {
        search.come(state, Origin::beginning(number), Ok(()))?;
    }
    let mut depth = 0;
    while !search.next.is_empty() {
        for (id, state) in std::mem::take(&mut search.next) {
            for (number, step) in model.steps(&state).iter().enumerate() {
                search.steps += 1;
                let mut after = state.clone();
                let taken = caught(|| model.take(&mut after, step));
                search.come(after, Origin::step(id, number), taken)?;
            }
        }
        depth += usize::from(!search.next.is_empty());
    }
    if search.sights.is_empty() {
        return Ok(Explored { states: search.visited.len(), steps: search.steps, depth });
    }
    Err(Failure::NeverSeen(search.sights.iter().map(|(name, _)| *name).collect()))
}

/// For tests: says what was looked at, or fails with the way to the broken rule.
///
/// # Panics
///
/// If the model does not hold.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn assert_holds<M: Model>(model: &M) {
    let begun = Instant::now();
    match check(model) {
        Ok(explored) => println!("model {}: {explored}, {:.1} s", M::NAME, begun.elapsed().as_secs_f64()),
        Err(failure) => panic!("model {}: {failure}", M::NAME),
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    visited: Visited,
    /// What was not seen yet.
    sights: Vec<Sight<M::State>>,
    next: Vec<(u32, M::State)>,
    steps: usize,
}

impl<M: Model> Search<'_, M> {
    fn come(&mut self, state: M::State, origin: Origin, taken: Result<(), String>) -> Result<(), Failure> {
        if let Err(rule) = taken {
            return Err(self.broken(rule, origin));
        }
        let Some(id) = self.visited.insert(&state, origin) else { return Ok(()) };
        if self.visited.len() > M::STATES_MAX {
            return Err(Failure::TooLarge(M::STATES_MAX));
        }
        caught(|| self.model.judge(&state)).map_err(|rule| self.broken(rule, origin))?;
        self.sights.retain(|(_, seen)| !seen(&state));
        self.next.push((id, state));
        Ok(())
    }

    /// Goes the way once more, and tells of it.
    fn broken(&self, rule: String, last: Origin) -> Failure {
        let (beginning, numbers) = self.visited.way(last);
        let mut way = Vec::new();
        if let Some(mut state) = self.model.beginnings().into_iter().nth(beginning) {
            way.push(told("in the beginning", &self.model.show(&state)));
            for number in numbers {
                let Some(step) = self.model.steps(&state).into_iter().nth(number) else { break };
                let _ = caught(|| self.model.take(&mut state, &step));
                way.push(told(&format!("{step:?}"), &self.model.show(&state)));
            }
        }
        Failure::Broken { rule, way }
    }
}

fn told(step: &str, state: &str) -> String {
    if state.is_empty() { step.to_owned() } else { format!("{step}\n       {state}") }
}

/// Code that panics breaks a rule like any other, and the way there is what one wants to know.
fn caught(code: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|panic| Err(format!("panicked: {}", text(panic.as_ref()))))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests;
