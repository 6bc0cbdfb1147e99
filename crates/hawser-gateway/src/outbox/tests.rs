#![expect(clippy::unwrap_used, reason = "tests")]

use std::task::Waker;

use super::*;
use crate::allowance::Allowance;
use crate::config::ReplayLimits;
use crate::places::tests::owner;

fn outbox(streams_max: usize, queue: usize) -> Outbox {
    let log = EventLog::new(Allowance::new(ReplayLimits::default()).share(None));
    Outbox::new(log, streams_max, queue)
}

fn read(stream: &mut StandingReader) -> Poll<Option<Bytes>> {
    stream.poll_event(&mut Context::from_waker(Waker::noop())).map(|event| event.map(|(_, message)| message))
}

fn send(outbox: &Outbox, message: &Bytes) -> Result<(), NoStream> {
    outbox.send_with(|_| Some(message.clone()))
}

#[test]
fn changes_wait_for_a_stream_once_each() {
    let outbox = outbox(1, 1);
    let changed = Bytes::from_static(b"changed");
    outbox.send_or_keep(notification::TOOLS_LIST_CHANGED, &changed);
    outbox.send_or_keep(notification::TOOLS_LIST_CHANGED, &changed);
    outbox.send_or_keep(notification::MESSAGE, &Bytes::from_static(b"log"));
    let mut stream = outbox.open(&Credential::default());
    assert_eq!(read(&mut stream), Poll::Ready(Some(changed.clone())));
    assert_eq!(read(&mut stream), Poll::Pending);
    let mut next = outbox.open(&Credential::default());
    assert_eq!(read(&mut stream), Poll::Ready(None), "one stream is all it may have: the older one ends");
    send(&outbox, &changed).unwrap();
    assert_eq!(read(&mut next), Poll::Ready(Some(changed)));
}

#[test]
fn a_stream_is_bounded_in_bytes_and_reading_makes_room() {
    let outbox = outbox(1, 256);
    let mut stream = outbox.open(&Credential::default());
    let message = Bytes::from(vec![b'x'; QUEUED_BYTES_MAX / 2]);
    send(&outbox, &message).unwrap();
    send(&outbox, &message).unwrap();
    assert!(read(&mut stream).is_ready());
    send(&outbox, &message).unwrap();
    assert_eq!(send(&outbox, &message).unwrap_err(), NoStream, "the reader is too slow and loses the stream");
    assert_eq!(read(&mut stream), Poll::Ready(None));
}

#[test]
fn a_message_goes_to_one_stream_and_a_slow_reader_loses_only_its_own() {
    let outbox = outbox(2, 1);
    let mut old = outbox.open(&Credential::default());
    let slow = outbox.open(&Credential::default());
    let message = Bytes::from_static(b"m");
    for _ in 0..KEPT_MAX {
        send(&outbox, &message).unwrap();
    }
    assert_eq!(read(&mut old), Poll::Pending, "the newest stream gets it");
    send(&outbox, &message).unwrap();
    assert_eq!(read(&mut old), Poll::Ready(Some(message)), "the newest is full and gone");
    let (again, _) = outbox.log.resume(slow.stream(), 0, &Credential::default()).unwrap();
    let mut again = outbox.enter(again, &Credential::default());
    for _ in 0..KEPT_MAX {
        assert!(matches!(read(&mut again), Poll::Ready(Some(_))), "and reads on where it was, once it is back");
    }
    assert_eq!(read(&mut again), Poll::Pending, "but not what went to the other stream");
}

#[test]
fn talk_never_costs_a_stream_nor_the_place_of_what_asks() {
    let outbox = outbox(1, KEPT_MAX);
    let mut stream = outbox.open(&Credential::default());
    let question = Bytes::from_static(b"question");
    send(&outbox, &question).unwrap();
    for _ in 0..10 * KEPT_MAX {
        outbox.send_or_keep(notification::MESSAGE, &Bytes::from_static(b"log"));
    }
    outbox.send_or_keep(notification::MESSAGE, &Bytes::from(vec![b'x'; QUEUED_BYTES_MAX]));
    send(&outbox, &question).unwrap();
    assert_eq!(read(&mut stream), Poll::Ready(Some(question.clone())));
    let rest: Vec<_> =
        std::iter::from_fn(|| if let Poll::Ready(message) = read(&mut stream) { message } else { None }).collect();
    assert_eq!(rest.len(), KEPT_MAX / TALK_PART, "talk has its part of the queue");
    assert_eq!(rest.last(), Some(&question));
}

#[test]
fn what_was_kept_while_nobody_read_comes_after_what_was_missed() {
    let outbox = outbox(1, 1);
    let stream = outbox.open(&Credential::default());
    send(&outbox, &Bytes::from_static(b"missed")).unwrap();
    let number = stream.stream();
    drop(stream);
    assert!(!outbox.has_stream());
    outbox.send_or_keep(notification::TOOLS_LIST_CHANGED, &Bytes::from_static(b"changed"));
    let (reader, _) = outbox.log.resume(number, 0, &Credential::default()).unwrap();
    let mut stream = outbox.enter(reader, &Credential::default());
    assert!(outbox.has_stream());
    assert_eq!(read(&mut stream), Poll::Ready(Some(Bytes::from_static(b"missed"))));
    assert_eq!(read(&mut stream), Poll::Ready(Some(Bytes::from_static(b"changed"))));
    assert_eq!(read(&mut stream), Poll::Pending);
}

#[test]
fn what_a_stream_begins_with_does_not_end_it() {
    let outbox = outbox(1, 1);
    let first: Vec<_> = (0..4 * KEPT_MAX).map(|number| Bytes::from(number.to_string())).collect();
    let mut stream = outbox.open_with(&Credential::default(), first.clone());
    for message in first {
        assert_eq!(read(&mut stream), Poll::Ready(Some(message)));
    }
    assert_eq!(read(&mut stream), Poll::Pending);
}

#[test]
fn slow_readers_have_less_room_where_their_owner_has_none() {
    let all = Allowance::new(ReplayLimits { owner_bytes: 2 * QUEUED_BYTES_SHORT, ..ReplayLimits::default() });
    let of = |name| Outbox::new(EventLog::new(all.share(Some(owner(name)))), 1, 256);
    let (slow, also_slow, other) = (of("alice"), of("alice"), of("bob"));
    let _streams = [&slow, &also_slow, &other].map(|outbox| outbox.open(&Credential::default()));
    let message = Bytes::from(vec![b'x'; QUEUED_BYTES_SHORT]);
    send(&slow, &message).unwrap();
    send(&also_slow, &message).unwrap();
    assert_eq!(send(&slow, &message).unwrap_err(), NoStream);
    for _ in 0..2 {
        send(&other, &message).unwrap();
    }
}
