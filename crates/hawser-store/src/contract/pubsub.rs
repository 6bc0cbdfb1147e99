//! Channels.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{Subject, fresh};
use crate::{Delivery, StoreError, Subscription, VALUE_BYTES_MAX};

/// How long a message may be under way.
const DELIVERY_MAX: Duration = Duration::from_secs(10);

async fn delivery(subscription: &mut Subscription) -> Delivery {
    let next = timeout(DELIVERY_MAX, subscription.next()).await.expect("a message that was published arrives");
    next.expect("the store is there")
}

async fn receive(subscription: &mut Subscription) -> Bytes {
    match delivery(subscription).await {
        Delivery::Message(message) => message,
        Delivery::Missed => panic!("a message was lost"),
    }
}

pub(super) async fn every_subscriber_receives_in_order(subject: &dyn Subject) {
    let (store, channel) = (subject.store(), fresh("channel"));
    let mut first = store.subscribe(&channel).await.unwrap();
    let mut second = store.subscribe(&channel).await.unwrap();
    let messages: Vec<Bytes> = (0..20).map(|number| Bytes::from(vec![number; usize::from(number)])).collect();
    for message in &messages {
        store.publish(&channel, message.clone()).await.unwrap();
    }
    for message in &messages {
        assert_eq!(receive(&mut first).await, message);
        assert_eq!(receive(&mut second).await, message);
    }
}

pub(super) async fn channels_are_separate(subject: &dyn Subject) {
    let (store, channel) = (subject.store(), fresh("Channel*"));
    let others = [channel.to_lowercase(), format!("{channel} "), channel.replace('*', "x"), format!("{channel}/x")];
    let mut here = store.subscribe(&channel).await.unwrap();
    for other in &others {
        store.publish(other, "elsewhere".into()).await.unwrap();
    }
    store.publish(&channel, "here".into()).await.unwrap();
    assert_eq!(receive(&mut here).await, "here");
    assert!(here.is_empty());
}

pub(super) async fn nothing_from_before_the_subscription_arrives(subject: &dyn Subject) {
    let (store, channel) = (subject.store(), fresh("channel"));
    store.publish(&channel, "to nobody".into()).await.unwrap();
    let mut early = store.subscribe(&channel).await.unwrap();
    store.publish(&channel, "to one".into()).await.unwrap();
    assert_eq!(receive(&mut early).await, "to one");
    let mut late = store.subscribe(&channel).await.unwrap();
    store.publish(&channel, "to both".into()).await.unwrap();
    assert_eq!(receive(&mut early).await, "to both");
    assert_eq!(receive(&mut late).await, "to both");
}

pub(super) async fn publishing_to_nobody_is_no_error(subject: &dyn Subject) {
    let (store, channel) = (subject.store(), fresh("channel"));
    store.publish(&channel, "x".into()).await.unwrap();
    drop(store.subscribe(&channel).await.unwrap());
    store.publish(&channel, "x".into()).await.unwrap();
    let mut again = store.subscribe(&channel).await.unwrap();
    store.publish(&channel, "y".into()).await.unwrap();
    assert_eq!(receive(&mut again).await, "y");
}

pub(super) async fn who_lags_loses_the_oldest_and_is_told(subject: &dyn Subject) {
    const MESSAGES: u32 = 5000;
    let (store, channel) = (subject.store(), fresh("channel"));
    let mut slow = store.subscribe(&channel).await.unwrap();
    let mut quick = store.subscribe(&channel).await.unwrap();
    let message = |number: u32| Bytes::copy_from_slice(&number.to_be_bytes());
    for number in 0..MESSAGES {
        store.publish(&channel, message(number)).await.unwrap();
        assert_eq!(receive(&mut quick).await, message(number));
    }
    assert_eq!(delivery(&mut slow).await, Delivery::Missed, "it lost nothing, or was not told");
    let first = u32::from_be_bytes(receive(&mut slow).await.as_ref().try_into().unwrap());
    for number in first + 1..MESSAGES {
        assert_eq!(receive(&mut slow).await, message(number), "only the oldest are lost");
    }
}

pub(super) async fn a_message_over_the_limit_is_refused(subject: &dyn Subject) {
    let (store, channel) = (subject.store(), fresh("channel"));
    let mut subscription = store.subscribe(&channel).await.unwrap();
    let refused = store.publish(&channel, Bytes::from(vec![0; VALUE_BYTES_MAX + 1])).await;
    let Err(StoreError::MessageTooLarge { channel: named, bytes, max }) = refused else { panic!("{refused:?}") };
    assert_eq!((&*named, bytes, max), (channel.as_str(), VALUE_BYTES_MAX + 1, VALUE_BYTES_MAX));
    store.publish(&channel, Bytes::from(vec![0; VALUE_BYTES_MAX])).await.unwrap();
    assert_eq!(receive(&mut subscription).await.len(), VALUE_BYTES_MAX);
}
