//! Whoever can write to the store can put anything on the channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hawser_store::{Delivery, Store as _};
use http::StatusCode;

use super::world::{NOW, Node, World, read, request, ring};
use crate::relay::frame::{ExchangeId, Frame, Piece, Window, Word};
use crate::relay::letter::{Channel, Writer};
use crate::relay::{NodeName, NotReached};
use crate::reply;

/// A node that counts what it is asked.
async fn counting(world: &World) -> (Node, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let node = world
        .node({
            let served = Arc::clone(&served);
            move |_| {
                served.fetch_add(1, Ordering::SeqCst);
                std::future::ready(reply::empty(StatusCode::NO_CONTENT))
            }
        })
        .await;
    (node, served)
}

fn written(frame: &Frame) -> Vec<u8> {
    let mut message = Vec::new();
    frame.write(&mut message);
    message
}

/// A request, and that it is waited for.
fn whole_request() -> Vec<u8> {
    let bytes = request("").to_parts().remove(0);
    let begin = Window { received: 0, until: 4, again: false };
    let words = [Word::Request { part: 0, parts: 1, bytes }, Word::Window(begin)];
    words.into_iter().flat_map(|word| written(&Frame::Of(ExchangeId(1), word))).collect()
}

/// Long enough for anything to arrive.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_seen_on_the_channel_is_not_served_again() {
    let world = World::new();
    let (there, served) = counting(&world).await;
    let (other, served_by_other) = counting(&world).await;
    let here = world.asker().await;
    let channel = Channel::Node(there.name());
    let mut eavesdropped = world.store.subscribe(&channel.name()).await.unwrap();
    read(here.relay.forward(there.name(), request("")).await.unwrap()).await.unwrap();
    settle().await;
    assert_eq!(served.load(Ordering::SeqCst), 1);
    let mut letters = Vec::new();
    while !eavesdropped.is_empty() {
        if let Some(Delivery::Message(letter)) = eavesdropped.next().await {
            letters.push(letter);
        }
    }
    assert!(!letters.is_empty());
    assert!(letters.iter().all(|letter| !letter.windows(8).any(|bytes| bytes == b"Bearer t")), "tokens are sealed");
    for letter in &letters {
        for replayed_on in [channel, Channel::Node(other.name()), Channel::Nodes] {
            world.put_on(replayed_on, letter.clone()).await;
            // One by one: the caller's leaving must not come in time to save what its request began.
            settle().await;
        }
    }
    assert_eq!(served.load(Ordering::SeqCst), 1, "replayed");
    assert_eq!(served_by_other.load(Ordering::SeqCst), 0, "replayed to another node");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_by_a_node_is_not_served() {
    let world = World::new();
    let (there, served) = counting(&world).await;
    let channel = Channel::Node(there.name());
    let outsider = Writer::new(NodeName::from_bytes([1; 8]), ring(), Arc::new(hawser_owner::SystemEntropy::new()));
    let insider = world.writer(NodeName::from_bytes([1; 8]));
    let message = whole_request();
    let mut of_another = insider.seal(channel, NOW, &message).unwrap().to_vec();
    of_another[1..9].copy_from_slice(&[2; 8]);
    let mut later_version = insider.seal(channel, NOW, &message).unwrap().to_vec();
    later_version[0] += 1;
    for letter in [
        Bytes::from_static(b"garbage"),
        Bytes::new(),
        message.clone().into(),
        outsider.seal(channel, NOW, &message).unwrap(),
        insider.seal(Channel::Nodes, NOW, &message).unwrap(),
        insider.seal(channel, NOW.minus(Duration::from_mins(2)), &message).unwrap(),
        insider.seal(channel, NOW.plus(Duration::from_mins(2)), &message).unwrap(),
        of_another.into(),
        later_version.into(),
    ] {
        world.put_on(channel, letter).await;
    }
    settle().await;
    assert_eq!(served.load(Ordering::SeqCst), 0);
    // The same, well written: it is the letter that was refused, not the message.
    world.put_on(channel, insider.seal(channel, NOW, &message).unwrap()).await;
    settle().await;
    assert_eq!(served.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_are_not_taken_from_the_channel_of_all_nor_news_from_a_node_s_own() {
    let world = World::new();
    let (mut there, served) = counting(&world).await;
    let insider = world.writer(NodeName::from_bytes([1; 8]));
    let own = Channel::Node(there.name());
    let news = written(&Frame::Tell("news".into()));
    world.put_on(Channel::Nodes, insider.seal(Channel::Nodes, NOW, &whole_request()).unwrap()).await;
    world.put_on(own, insider.seal(own, NOW, &news).unwrap()).await;
    settle().await;
    assert_eq!(served.load(Ordering::SeqCst), 0);
    assert!(there.heard.try_recv().is_err());
    world.put_on(Channel::Nodes, insider.seal(Channel::Nodes, NOW, &news).unwrap()).await;
    assert_eq!(there.heard.recv().await.unwrap().1, "news");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_a_node_was_there_is_not_told_to_it_again() {
    let world = World::new();
    let insider = world.writer(NodeName::from_bytes([1; 8]));
    let old = insider.seal(Channel::Nodes, NOW.minus(Duration::from_secs(1)), &written(&Frame::Tell("old".into())));
    let mut node = world.asker().await;
    world.put_on(Channel::Nodes, old.unwrap()).await;
    settle().await;
    assert!(node.heard.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn only_the_node_that_was_asked_can_answer() {
    let world = World::new();
    let here = world.asker().await;
    let asked = NodeName::from_bytes([1; 8]);
    let channel = Channel::Node(here.name());
    let forward = tokio::spawn({
        let relay = Arc::clone(&here.relay);
        async move { relay.forward(asked, request("")).await }
    });
    settle().await;
    let id = *here.relay.shared.asked().keys().next().unwrap();
    let head = written(&Frame::Of(id, Word::Piece(0, Piece::Head(StatusCode::OK, http::HeaderMap::new()))));
    let another = world.writer(NodeName::from_bytes([2; 8]));
    world.put_on(channel, another.seal(channel, NOW, &head).unwrap()).await;
    settle().await;
    assert_eq!(forward.await.unwrap().unwrap_err(), NotReached::NoAnswer(asked));
}
