//! The search itself, on models whose answers are known.

#![allow(clippy::panic, reason = "tests")]

use super::*;

/// Two jugs, of three and of five measures: all that can be in them, with a rule to be broken.
struct Jugs {
    never: u8,
    sights: Vec<Sight<(u8, u8)>>,
}

#[derive(Debug)]
enum Do {
    FillSmall,
    FillLarge,
    EmptySmall,
    EmptyLarge,
    PourIntoLarge,
    PourIntoSmall,
}

const NOTHING: u8 = u8::MAX;

impl Model for Jugs {
    type State = (u8, u8);
    type Step = Do;
    const NAME: &'static str = "jugs";

    fn beginnings(&self) -> Vec<(u8, u8)> {
        vec![(0, 0)]
    }

    fn steps(&self, _: &(u8, u8)) -> Vec<Do> {
        vec![Do::FillSmall, Do::FillLarge, Do::EmptySmall, Do::EmptyLarge, Do::PourIntoLarge, Do::PourIntoSmall]
    }

    fn take(&self, (small, large): &mut (u8, u8), step: &Do) -> Result<(), String> {
        match step {
            Do::FillSmall => *small = 3,
            Do::FillLarge => *large = 5,
            Do::EmptySmall => *small = 0,
            Do::EmptyLarge => *large = 0,
            Do::PourIntoLarge => {
                let poured = (*small).min(5 - *large);
                (*small, *large) = (*small - poured, *large + poured);
            }
            Do::PourIntoSmall => {
                let poured = (*large).min(3 - *small);
                (*small, *large) = (*small + poured, *large - poured);
            }
        }
        assert!(*large != 1 || self.never != 1, "one measure");
        Ok(())
    }

    fn judge(&self, (_, large): &(u8, u8)) -> Result<(), String> {
        if *large == self.never { Err(format!("{large} measures")) } else { Ok(()) }
    }

    fn sights(&self) -> Vec<Sight<(u8, u8)>> {
        self.sights.clone()
    }

    fn show(&self, (small, large): &(u8, u8)) -> String {
        format!("{small} and {large}")
    }
}

#[test]
fn every_state_is_looked_at_once() {
    let sights: Vec<Sight<_>> = vec![("four measures", |(_, large)| *large == 4)];
    // A jug is full or empty in every one of them: of 4 × 6 these are 16.
    assert_eq!(check(&Jugs { never: NOTHING, sights }), Ok(Explored { states: 16, steps: 96, depth: 7 }));
}

#[test]
fn a_broken_rule_is_shown_by_a_shortest_way() {
    let Err(Failure::Broken { rule, way }) = check(&Jugs { never: 4, sights: Vec::new() }) else { panic!("not found") };
    assert_eq!(rule, "4 measures");
    let steps: Vec<_> = way.iter().filter_map(|step| step.split_whitespace().next()).collect();
    let known = ["FillLarge", "PourIntoSmall", "EmptySmall", "PourIntoSmall", "FillLarge", "PourIntoSmall"];
    assert_eq!(steps[1..], known);
    assert!(way[6].ends_with("3 and 4"), "{way:?}");
}

#[test]
fn a_panic_is_a_broken_rule() {
    let Err(Failure::Broken { rule, way }) = check(&Jugs { never: 1, sights: Vec::new() }) else { panic!("not found") };
    assert_eq!(rule, "panicked: one measure");
    assert_eq!(way.len(), 7, "{way:?}");
}

#[test]
fn what_is_never_seen_is_told() {
    let sights: Vec<Sight<_>> = vec![("six measures", |(_, large)| *large == 6), ("none", |(_, large)| *large == 0)];
    assert_eq!(check(&Jugs { never: NOTHING, sights }), Err(Failure::NeverSeen(vec!["six measures"])));
}

/// It has no end.
struct Counting;

impl Model for Counting {
    type State = u64;
    type Step = ();
    const NAME: &'static str = "counting";
    const STATES_MAX: usize = 10;

    fn beginnings(&self) -> Vec<u64> {
        vec![0]
    }

    fn steps(&self, _: &u64) -> Vec<()> {
        vec![()]
    }

    fn take(&self, state: &mut u64, (): &()) -> Result<(), String> {
        *state += 1;
        Ok(())
    }

    fn sights(&self) -> Vec<Sight<u64>> {
        Vec::new()
    }
}

#[test]
fn a_model_without_an_end_is_none() {
    assert_eq!(check(&Counting), Err(Failure::TooLarge(10)));
}
