//! What goes wrong, and how it ends.

use std::time::Duration;

use tokio::time::sleep;

use super::{NODES, World};
use crate::network::Weather;

impl World {
    /// Whether the world is left alone for a while.
    pub(super) fn is_peace(&mut self) -> bool {
        self.peace = self.peace.saturating_sub(1);
        if self.peace == 0 {
            self.plan.network.set_faithful(false);
        }
        self.peace > 0
    }

    /// All faults end for some steps, so that what came of them is over.
    pub(super) async fn make_peace(&mut self) {
        self.mend().await;
        self.peace = self.choices.within(4..20);
        sleep(Duration::from_secs(6)).await;
    }

    pub(super) async fn mend(&mut self) {
        self.trace.tell("all faults end");
        self.plan.network.set_faithful(true);
        self.plan.network.set_up(true);
        for node in 0..NODES {
            self.plan.network.set_weather(node, Weather::Calm);
            if self.nodes.get(node).is_some_and(Option::is_none) {
                self.start(node).await;
            }
        }
    }

    /// While anything is wrong nobody is owed an answer.
    pub(super) fn note_disturbance(&self) {
        let calm = (0..NODES).all(|node| self.plan.network.calm_since(node).is_some());
        if !calm || !self.plan.network.is_faithful() || self.nodes.iter().any(Option::is_none) {
            self.calls.disturb();
        }
    }

    pub(super) fn restart_backends(&self) {
        self.trace.tell("the backends restart");
        self.calls.disturb();
        self.plan.backends.restart();
    }

    pub(super) fn change_weather(&mut self) {
        self.calls.disturb();
        let node = self.choices.index(NODES);
        let weather = match self.choices.within(0..10) {
            0..=1 => Weather::Stormy,
            2 => Weather::Stalled,
            3 => Weather::Cut,
            _ => Weather::Calm,
        };
        self.trace.tell(&format!("the weather of node {node} is {weather:?}"));
        self.plan.network.set_weather(node, weather);
    }

    pub(super) fn change_store(&mut self) {
        self.calls.disturb();
        let up = self.choices.percent(60);
        self.trace.tell(if up { "the store is up" } else { "the store is down" });
        self.plan.network.set_up(up);
    }

    pub(super) fn flush(&mut self) {
        if self.choices.percent(20) {
            self.trace.tell("the store is flushed");
            self.calls.flushed();
            self.plan.network.flush();
        }
    }

    pub(super) async fn crash_or_start(&mut self) {
        self.calls.disturb();
        let node = self.choices.index(NODES);
        match self.nodes.get_mut(node).map(Option::take) {
            Some(Some(running)) => {
                self.trace.tell(&format!("node {node} dies"));
                running.die();
            }
            _ => self.start(node).await,
        }
    }

    pub(super) async fn pause(&mut self, from: u64, to: u64) {
        let seconds = self.choices.within(from..to);
        self.trace.tell(&format!("{seconds} s pass"));
        sleep(Duration::from_secs(seconds)).await;
    }
}
