//! Who hears a journal: the channel, and a look at the counter twice a second for what the channel loses.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::progress::{Look, Progress, Verdict};
use super::{Journal, UNNUMBERED, unframed};
use crate::port::StoreError;
use crate::subscription::{Delivery, Subscription};

/// How often the counter is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest that a look may take: meanwhile nothing is heard.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An announcement: at least once, and not always in the order in which they were made.
    Message(Bytes),
    /// Announcements were lost for this follower. What they could have said is to be looked up.
    Missed,
}

/// Hears a journal.
#[derive(Debug)]
pub struct Follower {
    journal: Journal,
    shared: bool,
    /// `None` while it could not be made.
    subscription: Option<Subscription>,
    progress: Progress,
    looks: Interval,
    told: VecDeque<Told>,
}

impl Follower {
    pub(super) async fn new(journal: Journal) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.reset();
        let shared = journal.store.is_shared();
        let mut follower =
            Self { journal, shared, subscription: None, progress: Progress::default(), looks, told: VecDeque::new() };
        // The channel first: what is announced from now on is heard, or has a number above the present one.
        follower.subscribe().await;
        if shared && follower.begin().await.is_err() {
            follower.missed();
        }
        follower
    }

    /// What is announced next, or that something was missed; `None` when the store is gone for good. Cancel safe.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let looks = self.shared || self.subscription.is_none();
            tokio::select! {
                biased;
                delivery = delivery(&mut self.subscription) => match delivery {
                    Some(Delivery::Message(framed)) => self.hear(framed),
                    // What was lost on the channel is still kept.
                    Some(Delivery::Missed) if self.shared => self.looks.reset_immediately(),
                    Some(Delivery::Missed) => self.missed(),
                    None if self.shared => self.subscription = None,
                    None => return None,
                },
                _ = self.looks.tick(), if looks => {
                    // What is cut short is looked at next time.
                    let _ = timeout(LOOK_LIMIT, self.look()).await;
                }
            }
        }
    }

    fn hear(&mut self, framed: Bytes) {
        match unframed(framed) {
            Some((UNNUMBERED, message)) => self.told.push_back(Told::Message(message)),
            Some((number, message)) => {
                if self.progress.hear(number, &message) == Verdict::Tell {
                    self.told.push_back(Told::Message(message));
                }
            }
            None => self.missed(),
        }
    }

    async fn look(&mut self) {
        if self.shared
            && let Err(error) = self.catch_up().await
        {
            tracing::debug!(journal = self.journal.name, %error, "the journal cannot be read");
        }
        if self.subscription.is_none() {
            self.subscribe().await;
            // What was announced meanwhile is found by its number, if it has one.
            if !self.shared && self.subscription.is_some() {
                self.missed();
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let Some(current) = self.journal.current().await? else {
            if self.progress.lose() {
                self.missed();
            }
            return self.begin().await;
        };
        self.compare().await?;
        let numbers = match self.progress.look(current) {
            Look::Read(numbers) => numbers,
            Look::Missed => {
                self.missed();
                return self.compare().await;
            }
        };
        for number in numbers {
            let entry = self.journal.store.get(&self.journal.entry(number)?).await?;
            match (self.progress.read(number, entry.as_deref()), entry) {
                (Verdict::Tell, Some(message)) => self.told.push_back(Told::Message(message)),
                (Verdict::Missed, _) => self.missed(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins at the present number, with a counter of its own if there is none.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let number = match self.journal.current().await? {
            Some(number) => Some(number),
            None => self.journal.begin().await?,
        };
        // Somebody else has begun it meanwhile, and may have announced something already: taken over at the next look.
        if let Some(number) = number {
            self.progress.begin_at(number);
            self.compare().await?;
        }
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), StoreError> {
        if let Some(number) = self.progress.comparable() {
            let entry = self.journal.store.get(&self.journal.entry(number)?).await?;
            self.progress.compare(number, entry.as_deref());
        }
        Ok(())
    }

    async fn subscribe(&mut self) {
        match self.journal.store.subscribe(self.journal.name).await {
            Ok(subscription) => self.subscription = Some(subscription),
            Err(error) => tracing::debug!(journal = self.journal.name, %error, "the journal cannot be heard"),
        }
    }

    fn missed(&mut self) {
        if self.told.back() != Some(&Told::Missed) {
            self.told.push_back(Told::Missed);
        }
    }
}

async fn delivery(subscription: &mut Option<Subscription>) -> Option<Delivery> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => pending().await,
    }
}
