//! Property: whoever can write bytes, but has no key, cannot make anything that is opened as something else. For any
//! bytes, and for any that were put together from sealed ones and changed,
//!
//! 1. a record opens only in the place that it was sealed for, and only as a whole: its own metadata, its own value,
//!    its own data key, not one bit changed;
//! 2. a key slot opens only with its own key, and only unchanged, in its own vault, and gives the vault's own keys;
//! 3. every error is `Corrupt` or `WrongKey`;
//! 4. what can be read from bytes is written again as the same bytes.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use keyward::{
    ErrorKind, KeySource, NewSecret, SecretInfo, SecretPatch, UserId, Vault,
    fuzzing::{self, Parts, Seals},
};
use keyward_fuzz::{edits::Edit, json::pick};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
enum Input {
    Record(Forgery),
    RecordOfBytes(u8, Vec<u8>),
    Metadata(Vec<u8>),
    Slots {
        edits: Vec<Edit>,
        /// The numbers of the slots, in order. If empty, the slots stay as they are.
        order: Vec<u8>,
        of_another_vault: bool,
        with_checksum: bool,
    },
    SlotsOfBytes {
        bytes: Vec<u8>,
        with_checksum: bool,
    },
}

/// A record in which something is exchanged or changed.
#[derive(Arbitrary, Debug)]
struct Forgery {
    record: u8,
    /// The record whose place it is put into.
    place: Option<u8>,
    key: Option<u8>,
    metadata: Option<Part>,
    value: Option<Part>,
    /// Changes to the bytes of the whole.
    edits: Vec<Edit>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Metadata(u8),
    Value(u8),
    Root,
    KeyRing,
    Bytes(Vec<u8>),
}

struct Sealed {
    seals: Seals,
    records: Vec<Record>,
    /// A user's root, and the key ring.
    others: [Vec<u8>; 2],
}

struct Record {
    info: SecretInfo,
    value: String,
    parts: Parts,
}

/// Every revision of some secrets of two users. Some of them have the same names, values and bindings.
static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let vault = Vault::in_memory().expect("a vault");
    let mut seals = Seals::random().expect("keys");
    let mut records = Vec::new();
    let mut seal = |seals: &Seals, info: SecretInfo, value: &str| {
        records.push(Record {
            parts: seals.row(&info, value).expect("a record"),
            value: value.to_owned(),
            info,
        });
    };
    let users = [UserId::LOCAL, UserId::new(Uuid::from_u128(1))].map(|id| vault.user(id));
    for user in &users {
        for name in ["a", "b"] {
            let new = NewSecret::new(name, "value-1").bind("tool", name);
            let info = user.create(new).expect("a secret");
            seal(&seals, info, "value-1");
        }
    }
    let patches = [
        SecretPatch::new().value("value-2"),
        SecretPatch::new().tool_pattern("*"),
        SecretPatch::new().location("b"),
        SecretPatch::new().format("{}!"),
    ];
    for patch in patches {
        let info = users[0].update("a", patch).expect("an update");
        seal(&seals, info, "value-2");
    }
    seals.add_data_key().expect("a key");
    // The same revision under another data key, as while the data key is rotated.
    let info = users[0].secret("a").expect("it is there");
    seal(&seals, info, "value-2");
    Sealed {
        others: seals.others(UserId::LOCAL).expect("a root and a ring"),
        seals,
        records,
    }
});

impl Sealed {
    fn record(&self, n: u8) -> &Record {
        &self.records[usize::from(n) % self.records.len()]
    }

    fn part<'s>(&'s self, part: &'s Part) -> &'s [u8] {
        match part {
            Part::Metadata(n) => &self.record(*n).parts.metadata,
            Part::Value(n) => &self.record(*n).parts.value,
            Part::Root => &self.others[0],
            Part::KeyRing => &self.others[1],
            Part::Bytes(bytes) => bytes,
        }
    }

    fn check_record(&self, place: u8, bytes: &[u8]) {
        let place = &self.record(place).info;
        let genuine = self.records.iter().find(|record| {
            let at_home = record.info.secret_id == place.secret_id;
            at_home && stored(&record.parts) == bytes
        });
        let opened = self.seals.open_row(place.user_id, place.secret_id, bytes);
        match (opened, genuine) {
            (Ok(found), Some(record)) => {
                assert_eq!(found, (record.info.clone(), record.value.clone()));
            }
            (Ok((info, _)), None) => panic!("a forged record is opened as {info:?}"),
            (Err(error), Some(_)) => panic!("{error}"),
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }
}

/// A record in its stored form, according to the format: `key id u32 | length u32 | metadata | value`.
fn stored(parts: &Parts) -> Vec<u8> {
    let length = u32::try_from(parts.metadata.len()).expect("short");
    let numbers = [parts.key_id.to_le_bytes(), length.to_le_bytes()].concat();
    [&numbers[..], &parts.metadata, &parts.value].concat()
}

const KEYS: [u8; 3] = [1, 2, 3];

fn key(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

/// The stored slots of two vaults that have the same keys.
static SLOTS: LazyLock<[Slots; 2]> = LazyLock::new(|| {
    [(); 2].map(|()| {
        let seals = Seals::random().expect("keys");
        let bytes = seals.slots(&KEYS.map(key)).expect("slots");
        Slots { seals, bytes }
    })
});

struct Slots {
    seals: Seals,
    bytes: Vec<u8>,
}

/// The length of a vault's id and the number of slots, according to the format; then that of a raw key's slot:
/// `id u32 | kind u8 | commitment [32] | length u32 | sealed master key [72]`.
const FIRST: usize = 16 + 1;
const SLOT: usize = 4 + 1 + 32 + 4 + 72;

impl Slots {
    fn slot(&self, n: usize) -> &[u8] {
        &self.bytes[FIRST + SLOT * n..][..SLOT]
    }

    fn head(&self) -> &[u8] {
        &self.bytes[..FIRST - 1]
    }

    fn ring(&self) -> &[u8] {
        &self.bytes[FIRST + SLOT * KEYS.len()..]
    }

    fn check(&self, stored: &[u8]) {
        if let Some(again) = fuzzing::slots_again(stored) {
            assert_eq!(again, stored);
        }
        for (n, byte) in KEYS.into_iter().enumerate() {
            match self.seals.open_slots(stored, &key(byte)) {
                Ok(own) => {
                    // The bytes may be those of another vault with the same keys as a whole.
                    let vault = SLOTS.iter().find(|vault| stored.starts_with(vault.head()));
                    let vault = vault.expect("a vault that there is");
                    assert_eq!(own, vault.bytes == self.bytes);
                    let has = |part: &[u8]| stored.windows(part.len()).any(|found| found == part);
                    assert!(has(vault.slot(n)), "a forged slot is opened");
                    assert!(has(vault.ring()), "a forged ring is opened");
                }
                Err(error) => assert!(matches!(
                    error.kind(),
                    ErrorKind::Corrupt | ErrorKind::WrongKey
                )),
            }
        }
        let nobody = self.seals.open_slots(stored, &key(9));
        let kind = nobody.expect_err("no slot has this key").kind();
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::WrongKey));
    }
}

fuzz_target!(|input: Input| {
    match input {
        Input::Record(forgery) => {
            let sealed = &*SEALED;
            let record = sealed.record(forgery.record);
            let part = |part: &Option<Part>, own: &Vec<u8>| {
                part.as_ref()
                    .map_or(own.clone(), |part| sealed.part(part).to_vec())
            };
            let mut bytes = stored(&Parts {
                key_id: forgery.key.map_or(record.parts.key_id, u32::from),
                metadata: part(&forgery.metadata, &record.parts.metadata),
                value: part(&forgery.value, &record.parts.value),
            });
            for edit in forgery.edits.iter().take(8) {
                edit.apply(&mut bytes);
            }
            sealed.check_record(forgery.place.unwrap_or(forgery.record), &bytes);
        }
        Input::RecordOfBytes(place, bytes) => SEALED.check_record(place, &bytes),
        Input::Metadata(bytes) => {
            if let Some(again) = fuzzing::metadata_again(&bytes) {
                assert_eq!(again, bytes);
            }
        }
        Input::Slots {
            edits,
            order,
            of_another_vault,
            with_checksum,
        } => {
            let [own, other] = &*SLOTS;
            let mut bytes = own.bytes.clone();
            if !order.is_empty() {
                let order = &order[..order.len().min(20)];
                bytes.truncate(FIRST - 1);
                bytes.push(u8::try_from(order.len()).expect("at most 20"));
                for n in order {
                    let of = if n & 0x80 == 0 { own } else { other };
                    bytes.extend_from_slice(of.slot(pick(&[0, 1, 2], *n & 0x7f)));
                }
                let ring = if of_another_vault { other } else { own };
                bytes.extend_from_slice(ring.ring());
            } else if of_another_vault {
                bytes.clone_from(&other.bytes);
            }
            for edit in edits.iter().take(8) {
                edit.apply(&mut bytes);
            }
            own.check(&checked(bytes, with_checksum));
        }
        Input::SlotsOfBytes {
            bytes,
            with_checksum,
        } => SLOTS[0].check(&checked(bytes, with_checksum)),
    }
});

fn checked(bytes: Vec<u8>, with_checksum: bool) -> Vec<u8> {
    if with_checksum {
        fuzzing::with_checksum(bytes)
    } else {
        bytes
    }
}
