//! Ids of secrets: strictly increasing UUIDs of version 7 ([RFC 9562], section 5.7).
//!
//! [RFC 9562]: https://www.rfc-editor.org/rfc/rfc9562

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    crypto::fill_random,
    error::{Error, ErrorKind},
};

/// The number of bits after the milliseconds, without version and variant.
const RANDOM_BITS: u32 = 74;

/// The last millisecond that an id can hold, in the year 10889.
const LAST_MILLIS: u128 = 0xffff_ffff_ffff;

/// Returns an id greater than `last`, with the time `now` unless the clock is behind `last`.
///
/// In a new millisecond, all other bits of the id are random. Otherwise it is a random step of up to 2³² after
/// `last`.
pub(super) fn next_id(last: Uuid, now: DateTime<Utc>) -> Result<Uuid, Error> {
    let mut random = [0; 16];
    fill_random(&mut random)?;
    let random = u128::from_le_bytes(random) & ((1 << RANDOM_BITS) - 1);
    let millis = u128::try_from(now.timestamp_millis()).unwrap_or(0) & LAST_MILLIS;
    let fresh = (millis << RANDOM_BITS) | random;
    let last = without_version(last);
    let step = 1 + (random & 0xffff_ffff);
    let next = if fresh > last { fresh } else { last + step };
    if next >> RANDOM_BITS > LAST_MILLIS {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "no id is left after the greatest one so far; nothing changed: delete the secret that has it, and import the others into a new vault",
        ));
    }
    Ok(with_version(next))
}

/// Returns whether this could be the id of a secret after which others are created: of version 7, and not of the
/// last millisecond, so that at least 2⁴² more ids remain.
#[cfg(feature = "file")]
pub(super) fn is_followed(id: Uuid) -> bool {
    let millis = without_version(id) >> RANDOM_BITS;
    let is_of_version_7 = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
    is_of_version_7 && millis < LAST_MILLIS
}

/// The 122 bits of an id that carry information.
fn without_version(id: Uuid) -> u128 {
    let id = id.as_u128();
    (id >> 80 << RANDOM_BITS) | (((id >> 64) & 0xfff) << 62) | (id & ((1 << 62) - 1))
}

fn with_version(bits: u128) -> Uuid {
    let (millis, a, b) = (
        bits >> RANDOM_BITS,
        (bits >> 62) & 0xfff,
        bits & ((1 << 62) - 1),
    );
    Uuid::from_u128((millis << 80) | (7 << 76) | (a << 64) | (0b10 << 62) | b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_grow_whatever_the_clock_does(millis in prop::collection::vec(0..4_102_444_800_000_i64, 1..50)) {
            let mut last = Uuid::nil();
            for now in millis {
                let id = next_id(last, DateTime::from_timestamp_millis(now).unwrap()).unwrap();
                prop_assert!(id > last);
                prop_assert_eq!(id.get_version_num(), 7);
                prop_assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
                last = id;
            }
        }

        #[test]
        fn the_bits_that_count_survive(bits in 0..1_u128 << 122) {
            prop_assert_eq!(without_version(with_version(bits)), bits);
        }
    }

    #[test]
    fn the_next_id_of_a_millisecond_is_nobodys_guess() {
        let now = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let last = next_id(Uuid::nil(), now).unwrap();
        let behind = DateTime::UNIX_EPOCH;
        let next = || next_id(last, behind).unwrap();
        assert_ne!(next(), next());
    }

    #[test]
    fn an_id_tells_its_time() {
        let now = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let id = next_id(Uuid::nil(), now).unwrap();
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }
}
