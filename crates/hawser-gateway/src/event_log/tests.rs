#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::allowance::Allowance;

fn log(limits: ReplayLimits) -> Arc<EventLog> {
    EventLog::new(Allowance::new(limits).share(None))
}

fn read(reader: &mut Reader) -> Poll<Option<(u64, Bytes)>> {
    reader.poll_event(&mut Context::from_waker(Waker::noop()))
}

fn nobody() -> Credential {
    Credential::default()
}

#[test]
fn a_stream_is_read_on_from_where_its_client_was() {
    let log = log(ReplayLimits::default());
    let mut first = log.open(StreamKind::Call, &nobody(), None);
    let stream = first.stream();
    for text in ["a", "b", "c"] {
        log.append(stream, Bytes::from(text));
    }
    assert_eq!(read(&mut first), Poll::Ready(Some((1, Bytes::from("a")))));
    let (mut second, _) = log.resume(stream, 1, &nobody()).unwrap();
    assert_eq!(read(&mut first), Poll::Ready(None), "taken over");
    drop(first);
    assert_eq!(read(&mut second), Poll::Ready(Some((2, Bytes::from("b")))));
    assert_eq!(read(&mut second), Poll::Ready(Some((3, Bytes::from("c")))));
    assert!(read(&mut second).is_pending());
    log.finish(stream);
    assert_eq!(read(&mut second), Poll::Ready(None));
    assert_eq!(log.resume(stream, 3, &nobody()).unwrap_err(), NotResumed::Complete);
    assert!(log.resume(stream, 2, &nobody()).is_ok(), "what was sent last may not have arrived");
    assert_eq!(log.resume(stream, 4, &nobody()).unwrap_err(), NotResumed::Gone, "it has no such event");
    assert_eq!(log.resume(stream, u64::MAX, &nobody()).unwrap_err(), NotResumed::Gone);
    assert_eq!(log.resume(stream + 1, 0, &nobody()).unwrap_err(), NotResumed::Gone);
}

#[test]
fn an_event_that_was_not_kept_makes_what_came_before_it_worthless() {
    let log = log(ReplayLimits { session_bytes: 4, ..ReplayLimits::default() });
    let reader = log.open(StreamKind::Call, &nobody(), None);
    let stream = reader.stream();
    log.append(stream, Bytes::from("ab"));
    drop(reader);
    log.append(stream, Bytes::from("too long"));
    for after in [0, 1] {
        assert_eq!(log.resume(stream, after, &nobody()).unwrap_err(), NotResumed::Gone, "after {after}");
    }
    log.append(stream, Bytes::from("c"));
    let (mut reader, _) = log.resume(stream, 2, &nobody()).unwrap();
    assert_eq!(read(&mut reader), Poll::Ready(Some((3, Bytes::from("c")))));
}

#[test]
fn room_is_made_first_of_what_is_over_and_never_from_under_a_reader() {
    let log = log(ReplayLimits { session_events: 2, ..ReplayLimits::default() });
    let mut live = log.open(StreamKind::Call, &nobody(), None);
    let over = log.open(StreamKind::Call, &nobody(), None).stream();
    log.append(live.stream(), Bytes::from("1"));
    log.append(over, Bytes::from("x"));
    log.finish(over);
    log.append(live.stream(), Bytes::from("2"));
    assert_eq!(log.resume(over, 0, &nobody()).unwrap_err(), NotResumed::Gone);
    // Over the bound now, and nothing may go: all of it is still to be read.
    log.append(live.stream(), Bytes::from("3"));
    for position in 1..=3 {
        assert!(matches!(read(&mut live), Poll::Ready(Some((at, _))) if at == position));
    }
    log.append(live.stream(), Bytes::from("4"));
    assert_eq!(log.lock().events, 2);
}

#[test]
fn what_is_over_is_forgotten_after_a_while_and_its_room_is_given_back() {
    let limits = ReplayLimits::default();
    let log = log(limits);
    let call = log.open(StreamKind::Call, &nobody(), None).stream();
    let standing = log.open(StreamKind::Standing, &nobody(), None).stream();
    for stream in [call, standing] {
        log.append(stream, Bytes::from("x"));
    }
    log.expire_at(Instant::now() + limits.kept * 2);
    assert_eq!(log.resume(standing, 0, &nobody()).unwrap_err(), NotResumed::Gone, "left for too long");
    assert!(log.resume(call, 0, &nobody()).is_ok(), "a call is kept for as long as it runs");
    log.finish(call);
    log.expire();
    assert!(log.resume(call, 0, &nobody()).is_ok());
    log.expire_at(Instant::now() + limits.kept);
    let state = log.lock();
    assert!(state.streams.is_empty());
    assert_eq!((state.events, state.bytes), (0, 0));
}

#[test]
fn a_closed_log_keeps_nothing_but_calls_that_are_being_answered() {
    let log = log(ReplayLimits::default());
    let mut standing = log.open(StreamKind::Standing, &nobody(), None);
    let over = log.open(StreamKind::Call, &nobody(), None).stream();
    log.finish(over);
    log.close();
    assert_eq!(read(&mut standing), Poll::Ready(None));
    assert!(log.lock().streams.is_empty());
}

#[test]
fn what_a_client_that_was_away_did_not_come_back_for_is_known() {
    let log = log(ReplayLimits::default());
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let mut standing = log.open(StreamKind::Standing, &nobody(), None);
    let away = log.open(StreamKind::Call, &nobody(), None).stream();
    let mut reader = log.open(StreamKind::Call, &nobody(), None);
    for stream in [away, reader.stream()] {
        log.append(stream, Bytes::from("x"));
    }
    log.leave();
    assert_eq!(read(&mut standing), Poll::Ready(None));
    assert!(!log.is_unfetched(long_ago), "they are not over");
    assert!(read(&mut reader).is_ready());
    log.finish(reader.stream());
    drop(reader);
    assert!(!log.is_unfetched(long_ago), "it was read to its end");
    log.finish(away);
    assert!(log.is_unfetched(long_ago));
    assert!(!log.is_unfetched(Instant::now()), "it was over before");
    let (mut reader, _) = log.resume(away, 0, &nobody()).unwrap();
    assert!(read(&mut reader).is_ready());
    drop(reader);
    assert!(!log.is_unfetched(long_ago));
}

/// What may happen to a log.
#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Append(usize, u8),
    Read(usize),
    Leave(usize),
    /// Resumes after one of the positions that the stream's client has seen.
    Resume(usize, u8),
    Finish(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0_usize..4;
    prop_oneof![
        any::<bool>().prop_map(Step::Open),
        (stream.clone(), 1_u8..8).prop_map(|(stream, bytes)| Step::Append(stream, bytes)),
        (stream.clone(), 1_u8..8).prop_map(|(stream, bytes)| Step::Append(stream, bytes)),
        stream.clone().prop_map(Step::Read),
        stream.clone().prop_map(Step::Read),
        stream.clone().prop_map(Step::Leave),
        (stream.clone(), any::<u8>()).prop_map(|(stream, after)| Step::Resume(stream, after)),
        stream.prop_map(Step::Finish),
    ]
}

/// What the model knows of one stream.
struct Known {
    number: StreamNumber,
    said: Vec<Bytes>,
    over: bool,
    reader: Option<(Reader, u64)>,
}

proptest! {
    /// Whatever happens in whatever order: a reader gets the events of its own stream, in their order, from its position on,
    /// without a hole; and the log is never larger than its bounds and what connected readers have yet to read.
    #[test]
    fn a_reader_gets_its_own_stream_in_order_without_a_hole(steps in prop::collection::vec(step(), 0..120)) {
        let limits = ReplayLimits { stream_events: 5, stream_bytes: 20, session_events: 12, session_bytes: 40, ..ReplayLimits::default() };
        let log = log(limits);
        let mut known: Vec<Known> = Vec::new();
        let mut serial = 0_u64;
        for step in steps {
            match step {
                Step::Open(call) if known.len() < 4 => {
                    let kind = if call { StreamKind::Call } else { StreamKind::Standing };
                    let reader = log.open(kind, &nobody(), None);
                    known.push(Known { number: reader.stream(), said: Vec::new(), over: false, reader: Some((reader, 1)) });
                }
                Step::Append(stream, bytes) => {
                    let Some(of) = known.get_mut(stream).filter(|of| !of.over) else { continue };
                    serial += 1;
                    let mut event = format!("{}:{serial}:", of.number).into_bytes();
                    event.resize(usize::from(bytes).max(1), b'.');
                    of.said.push(Bytes::from(event.clone()));
                    log.append(of.number, Bytes::from(event));
                }
                Step::Read(stream) => {
                    let Some(of) = known.get_mut(stream) else { continue };
                    let Some((reader, at)) = &mut of.reader else { continue };
                    match read(reader) {
                        Poll::Ready(Some((position, event))) => {
                            prop_assert_eq!(position, *at, "in order, without a hole");
                            prop_assert_eq!(Some(&event), of.said.get(usize::try_from(position).unwrap() - 1));
                            *at += 1;
                        }
                        // Over, or too slow for its stream's own bound.
                        Poll::Ready(None) => {
                            let behind = of.said.len() as u64 + 1 - *at;
                            let bytes: usize = of.said.iter().skip(usize::try_from(*at).unwrap() - 1).map(Bytes::len).sum();
                            prop_assert!(of.over || behind > limits.stream_events as u64 || bytes > limits.stream_bytes);
                            of.reader = None;
                        }
                        Poll::Pending => prop_assert_eq!(*at, of.said.len() as u64 + 1, "there is nothing more to read"),
                    }
                }
                Step::Leave(stream) => {
                    if let Some(of) = known.get_mut(stream) {
                        of.reader = None;
                    }
                }
                Step::Resume(stream, after) => {
                    let Some(of) = known.get_mut(stream) else { continue };
                    let after = u64::from(after) % (of.said.len() as u64 + 1);
                    if let Ok((reader, _)) = log.resume(of.number, after, &nobody()) {
                        let before = of.reader.replace((reader, after + 1));
                        if let Some((mut before, _)) = before {
                            prop_assert_eq!(read(&mut before), Poll::Ready(None), "two readers of one stream");
                        }
                    }
                }
                Step::Finish(stream) => {
                    if let Some(of) = known.get_mut(stream) {
                        of.over = true;
                        log.finish(of.number);
                    }
                }
                Step::Open(_) => {}
            }
            let state = log.lock();
            let unread: usize = state.streams.values().filter_map(Stream::lag).map(|lag| lag.events).sum();
            prop_assert!(state.events <= limits.session_events.max(unread));
            let counted: BTreeMap<_, _> = state.streams.iter().map(|(number, stream)| (*number, stream.bytes)).collect();
            prop_assert_eq!(state.bytes, counted.values().sum::<usize>());
            for stream in state.streams.values() {
                prop_assert!(stream.events.len() <= limits.stream_events);
                prop_assert_eq!(stream.bytes, stream.events.iter().map(Bytes::len).sum::<usize>());
                prop_assert!(stream.bytes <= limits.stream_bytes || stream.events.len() == 1);
            }
        }
    }
}
