//! The matrix of the rules as named cases, and the rules against a plain specification.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A family with a clock, and what parties hold.
struct Scene {
    family: Family,
    policy: Policy,
    now: Timestamp,
}

impl Scene {
    fn with_grace(seconds: u64) -> Self {
        let now = Timestamp::from_seconds(1_000_000);
        let policy = Policy { grace: Duration::from_secs(seconds), idle: DAY * 14, rotation: Rotation::EveryUse };
        Self { family: Family::start(now, policy.idle, DAY * 90), policy, now }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn refresh(&mut self, generation: u64) -> Decision {
        let decision = self.family.decide(generation, self.now, &self.policy);
        self.family = self.family.after(decision, self.now, &self.policy);
        decision
    }

    /// Refreshes and keeps the answer; false if the answer is an error.
    fn advance(&mut self, held: &mut u64) -> bool {
        let answered = matches!(self.refresh(*held), Decision::Rotate | Decision::SameHead(_));
        if answered {
            *held = self.family.head;
        }
        answered
    }

    fn use_access_token(&mut self, generation: u64) {
        self.family = self.family.after_use_of(generation);
    }
}

#[test]
fn tk12_five_concurrent_refreshes_share_one_head() {
    let mut scene = Scene::with_grace(30);
    assert_eq!(scene.refresh(1), Decision::Rotate);
    for _ in 0..4 {
        assert_eq!(scene.refresh(1), Decision::SameHead(SameHead::Grace));
    }
    assert_eq!(scene.family.head, 2);
    // Each of them holds generation 2; the next round works the same, whoever comes first.
    scene.use_access_token(2);
    scene.wait(600);
    assert_eq!(scene.refresh(2), Decision::Rotate);
    assert_eq!(scene.refresh(2), Decision::SameHead(SameHead::Grace));
}

#[test]
fn tk12_a_second_process_8_seconds_late_gets_the_same_head() {
    let mut scene = Scene::with_grace(30);
    assert_eq!(scene.refresh(1), Decision::Rotate);
    scene.use_access_token(2);
    scene.wait(8);
    assert_eq!(scene.refresh(1), Decision::SameHead(SameHead::Grace));
}

#[test]
fn tk12_fa2_a_lost_response_is_recovered_after_5_s_31_s_and_1_h() {
    for late in [5, 31, 3600] {
        let mut scene = Scene::with_grace(30);
        assert_eq!(scene.refresh(1), Decision::Rotate);
        scene.wait(late);
        assert!(matches!(scene.refresh(1), Decision::SameHead(_)), "{late} s");
        assert_eq!(scene.family.head, 2);
        assert_eq!(scene.refresh(2), Decision::Rotate, "{late} s");
    }
}

#[test]
fn tk12_a_lost_response_is_recovered_with_no_grace_at_all() {
    let mut scene = Scene::with_grace(0);
    assert_eq!(scene.refresh(1), Decision::Rotate);
    assert_eq!(scene.refresh(1), Decision::SameHead(SameHead::LostResponse));
    scene.use_access_token(2);
    assert_eq!(scene.refresh(1), Decision::Reuse);
}

#[test]
fn tk12_the_grace_period_ends_at_its_second() {
    let mut scene = Scene::with_grace(30);
    scene.refresh(1);
    scene.use_access_token(2);
    scene.wait(30);
    assert_eq!(scene.refresh(1), Decision::SameHead(SameHead::Grace));
    scene.wait(1);
    assert_eq!(scene.refresh(1), Decision::Reuse);
    assert_eq!(scene.refresh(2), Decision::Revoked);
}

/// Client and thief hold the same token. Each refreshes every `every` seconds, the second `lag` seconds after the first,
/// and uses what it got. Tells after how many rounds one of them met a refusal.
fn rounds_until_detected(grace: u64, every: u64, lag: u64, thief_continues: bool, thief_first: bool) -> Option<u32> {
    let mut scene = Scene::with_grace(grace);
    let (mut client, mut thief) = (1, 1);
    for round in 1..=20 {
        for step in 0..2 {
            let thiefs_turn = (step == 0) == thief_first;
            let acts = !thiefs_turn || thief_continues || round == 1;
            let held = if thiefs_turn { &mut thief } else { &mut client };
            if acts {
                if !scene.advance(held) {
                    assert!(scene.family.revoked);
                    return Some(round);
                }
                let generation = *held;
                scene.use_access_token(generation);
            }
            scene.wait(if step == 0 { lag } else { every - lag });
        }
    }
    None
}

#[test]
fn tk12_theft_where_the_thief_refreshes_first_and_goes_on_is_detected() {
    assert!(rounds_until_detected(30, 600, 300, true, true).is_some());
}

#[test]
fn tk12_theft_where_the_client_refreshes_first_and_the_thief_goes_on_is_detected() {
    assert!(rounds_until_detected(30, 600, 300, true, false).is_some());
}

#[test]
fn tk12_theft_where_the_thief_refreshes_once_first_is_detected() {
    assert!(rounds_until_detected(30, 600, 300, false, true).is_some());
}

#[test]
fn tk12_theft_where_the_thief_refreshes_once_after_the_client_is_detected() {
    assert!(rounds_until_detected(30, 600, 300, false, false).is_some());
}

#[test]
fn tk12_a_shadowing_thief_20_s_behind_is_detected_with_a_grace_of_10_s_and_is_the_known_hole_with_30_s() {
    assert!(rounds_until_detected(10, 300, 20, true, false).is_some());
    assert!(rounds_until_detected(30, 300, 20, true, false).is_none());
}

#[test]
fn tk12_a_thief_who_uses_the_recovered_answer_is_met_by_the_client() {
    let mut scene = Scene::with_grace(30);
    assert_eq!(scene.refresh(1), Decision::Rotate);
    scene.wait(3600);
    // The client's answer was lost, the thief comes with the old token first and uses what it gets.
    assert_eq!(scene.refresh(1), Decision::SameHead(SameHead::LostResponse));
    scene.use_access_token(2);
    assert_eq!(scene.refresh(1), Decision::Reuse);
}

#[test]
fn tk11_idle_and_absolute_ends_hold_and_rotation_never_moves_the_absolute_one() {
    let mut scene = Scene::with_grace(30);
    let end = scene.family.absolute_expires;
    let mut held = 1;
    for _ in 0..6 {
        scene.wait(13 * 24 * 3600);
        assert!(scene.advance(&mut held));
    }
    assert_eq!(scene.family.absolute_expires, end);
    assert_eq!(scene.family.idle_expires, end);
    scene.now = end;
    assert_eq!(scene.refresh(held), Decision::Expired);

    let mut idle = Scene::with_grace(30);
    idle.wait(14 * 24 * 3600);
    assert_eq!(idle.refresh(1), Decision::Expired);
    assert!(!idle.family.revoked);
}

#[test]
fn a_confidential_client_keeps_its_token_until_70_percent_of_its_lifetime() {
    let mut scene = Scene::with_grace(30);
    scene.policy.rotation = Rotation::LateInLife;
    scene.wait(9 * 24 * 3600);
    assert_eq!(scene.refresh(1), Decision::SameHead(SameHead::Kept));
    assert_eq!(scene.family.head, 1);
    scene.wait(24 * 3600);
    assert_eq!(scene.refresh(1), Decision::Rotate);
    scene.use_access_token(2);
    scene.wait(31);
    assert_eq!(scene.refresh(1), Decision::Reuse);
}

#[test]
fn a_burst_of_rotations_is_bounded_and_leaves_no_straggler_behind() {
    let mut scene = Scene::with_grace(300);
    let mut held = 1;
    for _ in 0..500 {
        assert!(scene.advance(&mut held));
    }
    assert!(scene.family.rotations.len() <= ROTATIONS_MAX);
    for generation in 1..=held {
        assert!(matches!(scene.refresh(generation), Decision::SameHead(_)), "{generation}");
    }
}

#[test]
fn a_generation_from_the_future_ends_the_family() {
    assert_eq!(Scene::with_grace(30).refresh(7), Decision::Reuse);
}

/// The rules, told plainly over the whole history.
struct Specification {
    /// When each generation but the head was rotated away.
    rotated: BTreeMap<u64, Timestamp>,
    /// Generations that came back as refresh or access token.
    seen: Vec<u64>,
    head: u64,
    last_use: Timestamp,
    start: Timestamp,
    revoked: bool,
}

impl Specification {
    fn decide(&self, presented: u64, now: Timestamp, policy: &Policy) -> Decision {
        if self.revoked {
            Decision::Revoked
        } else if now >= self.last_use.plus(policy.idle) || now >= self.start.plus(DAY * 90) {
            Decision::Expired
        } else if presented == self.head {
            Decision::Rotate
        } else if self.rotated.get(&presented).is_some_and(|at| now.since(*at) <= policy.grace)
            && !policy.grace.is_zero()
        {
            Decision::SameHead(SameHead::Grace)
        } else if presented + 1 == self.head && !self.seen.contains(&self.head) {
            Decision::SameHead(SameHead::LostResponse)
        } else {
            Decision::Reuse
        }
    }

    fn apply(&mut self, presented: u64, decision: Decision, now: Timestamp) {
        match decision {
            Decision::Rotate => {
                self.rotated.insert(self.head, now);
                self.seen.push(presented);
                self.head += 1;
                self.last_use = now;
            }
            Decision::SameHead(_) => self.last_use = now,
            Decision::Reuse => self.revoked = true,
            Decision::Expired | Decision::Revoked => {}
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// Present the generation that lies so far behind the head.
    Refresh(u64),
    UseAccessToken(u64),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..4).prop_map(Event::Refresh),
        2 => (0_u64..3).prop_map(Event::UseAccessToken),
        3 => prop_oneof![0_u64..40, Just(HOUR.as_secs()), Just(DAY.as_secs() * 5)].prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn tk12_every_history_is_judged_as_the_plain_specification_judges_it(
        events in prop::collection::vec(event(), 1..50),
        grace in prop_oneof![Just(0_u64), Just(10), Just(30), Just(300)],
    ) {
        let mut scene = Scene::with_grace(grace);
        let mut plain = Specification {
            rotated: BTreeMap::new(), seen: vec![], head: 1, last_use: scene.now, start: scene.now, revoked: false,
        };
        for event in events {
            match event {
                Event::Wait(seconds) => scene.wait(seconds),
                Event::UseAccessToken(behind) => {
                    let generation = scene.family.head.saturating_sub(behind).max(1);
                    scene.use_access_token(generation);
                    plain.seen.push(generation);
                }
                Event::Refresh(behind) => {
                    let presented = scene.family.head.saturating_sub(behind).max(1);
                    let expected = plain.decide(presented, scene.now, &scene.policy);
                    plain.apply(presented, expected, scene.now);
                    prop_assert_eq!(scene.refresh(presented), expected);
                    prop_assert_eq!(scene.family.head, plain.head);
                }
            }
        }
    }
}
