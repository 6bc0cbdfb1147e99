//! Which server of a cluster has which rows.

use redis::Value;

use super::url::Address;

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;
/// Ranges that an answer may have: each slot could be one of its own.
const RANGES_MAX: usize = SLOTS as usize;

/// The slot of a row: that of what stands between the first `{` and the next `}` of its name, if anything does.
pub(super) fn slot_of(name: &[u8]) -> u16 {
    let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = name.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(name)) % SLOTS
}

/// CRC-16/XMODEM, as the cluster specification wants it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

/// Slots from the first to the last, and their primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) primary: Address,
}

/// Reads what `asked` answered to `CLUSTER SLOTS`, in the order of slots. `None` if it makes no sense.
pub(super) fn read(answer: &Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(answers) = answer else { return None };
    if answers.is_empty() || answers.len() > RANGES_MAX {
        return None;
    }
    let mut ranges = answers.iter().map(|range| read_range(range, asked)).collect::<Option<Vec<Range>>>()?;
    ranges.sort_by_key(|range| range.first);
    let apart = ranges.windows(2).all(|pair| matches!(pair, [left, right] if left.last < right.first));
    apart.then_some(ranges)
}

fn read_range(range: &Value, asked: &Address) -> Option<Range> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else { return None };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    if first > last || last >= SLOTS {
        return None;
    }
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    // A server that does not know its own address means the one that it was asked at.
    let host = if host.is_empty() || host == "?" { asked.host.clone() } else { host.into() };
    Some(Range { first, last, primary: Address { host, port: u16::try_from(*port).ok()? } })
}

/// Where a redirection leads: `SLOT HOST:PORT`, of which the host may be missing.
pub(super) fn redirected(detail: &str, asked: &Address) -> Option<Address> {
    let (_, place) = detail.split_once(' ')?;
    let (host, port) = place.trim().rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() || host == "?" { asked.host.clone() } else { host.into() };
    Some(Address { host, port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn here() -> Address {
        Address { host: "here".into(), port: 1 }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    #[test]
    fn an_answer_is_read_in_order_and_gaps_are_left() {
        let server = |host: &[u8], port| Value::Array(vec![Value::BulkString(host.into()), Value::Int(port)]);
        let range = |first, last, host: &[u8], port| {
            Value::Array(vec![Value::Int(first), Value::Int(last), server(host, port)])
        };
        let ranges = read(&Value::Array(vec![range(100, 200, b"b", 2), range(0, 9, b"", 1)]), &here()).unwrap();
        assert_eq!(ranges[0], Range { first: 0, last: 9, primary: here() });
        assert_eq!((ranges[1].first, &*ranges[1].primary.host), (100, "b"));
        for wrong in [
            vec![],
            vec![range(0, 16_384, b"a", 1)],
            vec![range(5, 4, b"a", 1)],
            vec![range(0, 5, b"a", 70_000)],
            vec![range(0, 5, b"a", 1), range(5, 6, b"a", 1)],
        ] {
            assert_eq!(read(&Value::Array(wrong), &here()), None);
        }
    }

    #[test]
    fn redirections_lead_somewhere() {
        assert_eq!(redirected("3999 127.0.0.1:6381", &here()).unwrap().to_string(), "127.0.0.1:6381");
        assert_eq!(redirected("3999 :6381", &here()).unwrap().to_string(), "here:6381");
        assert_eq!(redirected("3999 ::1:6381", &here()).unwrap().to_string(), "[::1]:6381");
        assert_eq!(redirected("3999", &here()), None);
    }

    proptest! {
        #[test]
        fn any_redirection_is_understood_or_refused(detail in "[ -~]{0,40}") {
            let _ = redirected(&detail, &here());
        }

        #[test]
        fn every_name_has_a_slot(name in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(slot_of(&name) < SLOTS);
        }
    }
}
