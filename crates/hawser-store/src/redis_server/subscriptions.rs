//! All channels that somebody here listens to, on one connection of its own.
//!
//! A task keeps the connection. Subscriptions are handed to it one by one, so that what is subscribed at the server and what
//! is listened to here cannot drift apart. After a loss it subscribes to everything again, and then tells every listener that
//! messages may be missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::OPERATION_MAX;
use super::failure::Failure;
use super::route::Route;
use super::server::Manner;
use super::stream::Stream;
use super::url::Address;
use crate::channels::Channels;
use crate::port::{StoreError, Unavailable, VALUE_BYTES_MAX};
use crate::subscription::Subscription;

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long the server may take to answer anything.
const ANSWER_MAX: Duration = Duration::from_millis(1500);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// The same after a connection that worked.
const PAUSE_AFTER_LOSS: Duration = Duration::from_millis(20);
/// Channels that are named in one request.
const CHANNELS_AT_ONCE: usize = 256;
/// Subscriptions that wait for their turn.
const WAITING_MAX: usize = 1024;

/// Messages that are passed on before a subscription begins, at most.
const BEFORE_MAX: usize = 100_000;

type Done = oneshot::Sender<Result<Subscription, StoreError>>;

/// The way to the task.
pub(super) struct Subscriptions {
    asks: mpsc::Sender<(Box<str>, Done)>,
    task: JoinHandle<()>,
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscriptions {
    /// Begins to listen. `prefix` stands before the name of every channel at the server.
    pub(super) fn start(route: Arc<Route>, manner: Manner, prefix: Box<str>) -> Self {
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        let listener = Listener { route, manner, prefix, channels: Channels::default(), subscribed: HashSet::new() };
        Self { asks, task: tokio::spawn(listener.run(asked)) }
    }

    /// Listens to the channel from now on.
    pub(super) async fn subscribe(&self, channel: &str, deadline: Instant) -> Result<Subscription, StoreError> {
        let asking = async {
            let (done, answer) = oneshot::channel();
            self.asks.send((channel.into(), done)).await.ok()?;
            answer.await.ok()
        };
        match timeout_at(deadline, asking).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(unavailable(Failure::passing("the store is closed"))),
            Err(_) => Err(unavailable(silent())),
        }
    }
}

struct Listener {
    route: Arc<Route>,
    manner: Manner,
    prefix: Box<str>,
    channels: Channels,
    /// What the server of the present connection sends.
    subscribed: HashSet<Box<str>>,
}

impl Listener {
    async fn run(mut self, mut asked: mpsc::Receiver<(Box<str>, Done)>) {
        let mut before = false;
        loop {
            match self.connect().await {
                Ok((address, sink, stream)) => {
                    if before {
                        self.channels.tell_missed();
                    }
                    before = true;
                    let Some(failure) = self.serve(&address, sink, stream, &mut asked).await else { return };
                    tracing::warn!(server = %address, reason = failure.reason, "lost the store's channels; listening anew");
                    sleep(PAUSE_AFTER_LOSS).await;
                }
                Err(failure) => {
                    // Whoever asks meanwhile is not kept waiting.
                    let refusing = async {
                        while let Some((_, done)) = asked.recv().await {
                            let _ = done.send(Err(unavailable(failure.clone())));
                        }
                    };
                    tokio::select! {
                        () = refusing => return,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    /// Connects and subscribes to everything that is listened to.
    async fn connect(&mut self) -> Result<(Address, PubSubSink, PubSubStream), Failure> {
        let address = self.route.exchange(Instant::now() + OPERATION_MAX).await?.address.clone();
        let connecting = async {
            let stream = Stream::connect(&address, self.manner.tls.as_ref()).await;
            let stream = stream.map_err(|error| Failure::connecting(&error))?;
            PubSub::new(&self.manner.info(), stream).await.map_err(|error| Failure::greeting(&error))
        };
        let connected = timeout(CONNECT_MAX, connecting).await;
        let (mut sink, stream) = connected.map_err(|_| silent())??.split();
        self.subscribed.clear();
        let open = self.channels.open();
        for some in open.chunks(CHANNELS_AT_ONCE) {
            let names: Vec<String> = some.iter().map(|channel| self.name(channel)).collect();
            answered(sink.subscribe(names)).await?;
            self.subscribed.extend(some.iter().cloned());
        }
        Ok((address, sink, stream))
    }

    /// Passes messages on until the connection is lost; `None` when the store is closed.
    async fn serve(
        &mut self,
        address: &Address,
        mut sink: PubSubSink,
        mut stream: PubSubStream,
        asked: &mut mpsc::Receiver<(Box<str>, Done)>,
    ) -> Option<Failure> {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let checked = tokio::select! {
                message = stream.next() => match message {
                    Some(message) => {
                        self.pass_on(&message);
                        Ok(())
                    }
                    None => Err(Failure::passing("the connection was closed")),
                },
                ask = asked.recv() => {
                    let (channel, done) = ask?;
                    match self.subscribe(&mut sink, &mut stream, channel).await {
                        Ok(subscription) => {
                            let _ = done.send(subscription);
                            Ok(())
                        }
                        Err(failure) => {
                            let _ = done.send(Err(unavailable(failure.clone())));
                            Err(failure)
                        }
                    }
                }
                _ = heartbeat.tick() => self.beat(address, &mut sink).await,
            };
            if let Err(failure) = checked {
                return Some(failure);
            }
        }
    }

    /// Subscribes at the server, also where it is subscribed already: what comes before its answer is from before, and is
    /// passed on before there is anybody new to receive it.
    async fn subscribe(
        &mut self,
        sink: &mut PubSubSink,
        stream: &mut PubSubStream,
        channel: Box<str>,
    ) -> Result<Result<Subscription, StoreError>, Failure> {
        answered(sink.subscribe(self.name(&channel))).await?;
        for _ in 0..BEFORE_MAX {
            // What is there already, all of it: without the pauses that tasks make for one another.
            let Some(Some(message)) = unconstrained(stream.next()).now_or_never() else { break };
            self.pass_on(&message);
        }
        let subscription = self.channels.subscribe(&channel);
        self.subscribed.insert(channel);
        Ok(subscription)
    }

    /// Looks whether the server is there and the right one, and takes leave of channels that nobody listens to any more.
    async fn beat(&mut self, address: &Address, sink: &mut PubSubSink) -> Result<(), Failure> {
        if !self.route.is_heard_at(address) {
            return Err(Failure::passing("the server is not in use any more"));
        }
        answered(async { sink.ping::<redis::Value>().await.map(drop) }).await?;
        self.channels.sweep();
        let left: Vec<Box<str>> =
            self.subscribed.iter().filter(|channel| !self.channels.is_open(channel)).cloned().collect();
        for some in left.chunks(CHANNELS_AT_ONCE) {
            let names: Vec<String> = some.iter().map(|channel| self.name(channel)).collect();
            answered(sink.unsubscribe(names)).await?;
            for channel in some {
                self.subscribed.remove(channel);
            }
        }
        Ok(())
    }

    fn pass_on(&self, message: &redis::Msg) {
        let payload = message.get_payload_bytes();
        // Nobody here publishes more than that.
        if let Some(channel) = message.get_channel_name().strip_prefix(&*self.prefix)
            && payload.len() <= VALUE_BYTES_MAX
        {
            self.channels.publish(channel, Bytes::copy_from_slice(payload));
        }
    }

    fn name(&self, channel: &str) -> String {
        format!("{}{channel}", self.prefix)
    }
}

async fn answered(answer: impl Future<Output = redis::RedisResult<()>>) -> Result<(), Failure> {
    timeout(ANSWER_MAX, answer).await.map_err(|_| silent())?.map_err(|error| Failure::greeting(&error))
}

fn unavailable(failure: Failure) -> StoreError {
    Unavailable::from(failure).into()
}

fn silent() -> Failure {
    Failure::passing("the server does not answer")
}
