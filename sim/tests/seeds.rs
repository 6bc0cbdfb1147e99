//! The simulation itself: runs can be repeated, and they are worth something.

use hawser_sim::counts::Counts;
use hawser_sim::trace::SHOWN;
use hawser_sim::world::run;

const STEPS: u64 = 400;

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 1000..1010 {
        let (once, again) = (run(seed, STEPS, SHOWN), run(seed, STEPS, SHOWN));
        assert_eq!(once.hash, again.hash, "seed {seed}");
        assert_ne!(once.hash, run(seed + 10_000, STEPS, SHOWN).hash, "seed {seed} and another");
    }
}

#[test]
fn the_rules_hold_and_much_happens() {
    let mut counts = Counts::default();
    for seed in 0..20 {
        let outcome = run(seed, STEPS, SHOWN);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:?}\n{}", outcome.broken, outcome.last.join("\n"));
        counts.add(&outcome.counts);
    }
    assert!(counts.sessions > 100 && counts.served > 1000 && counts.over > 200, "{counts}");
    assert!(counts.strangers > 1000 && counts.unavailable > 100 && counts.streams > 20 && counts.lost > 5, "{counts}");
    assert!(counts.calls_done > 300 && counts.asked > 100 && counts.calls_lost > 10, "{counts}");
}
