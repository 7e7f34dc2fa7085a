//! What each use of a key leaves in memory. Whole vaults are tested with the vault.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, block_api::compress256};
use zeroize::Zeroizing;

use super::{
    aead::{Context, Key, open, seal},
    derive::{KdfParams, derive, stretch},
    digest::keyed_digest,
    keys::{KeyRing, VaultId},
    stack::wiping_stack,
};
use crate::{
    entry::Entry,
    memory_scan::{Memory, Seed, deep, in_child, in_child_of},
    metadata::Metadata,
    secret::UserId,
};

const LABEL: &str = "keyward test";

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac: Hmac<Sha256> = KeyInit::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The state that HMAC keeps of a key: SHA-256's states after the first block, inner and outer.
fn hmac_states(key: &[u8]) -> Vec<Vec<u8>> {
    let state = |pad: u8| {
        let mut block = [pad; 64];
        for (to, from) in block.iter_mut().zip(key) {
            *to ^= from;
        }
        let mut state = [
            0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
            0x5be0cd19,
        ];
        compress256(&mut state, &[block]);
        // Allocated at full size, since a list that grows leaves its beginning behind.
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(state.into_iter().flat_map(u32::to_ne_bytes));
        bytes
    };
    vec![state(0x36), state(0x5c)]
}

impl KeyRing {
    /// Calls `see` with the HMAC states of the keys. They are kept nowhere.
    pub(crate) fn each_hmac_state(&self, mut see: impl FnMut(&'static str, &[u8])) {
        let keys = [("tags", self.tags()), ("digests", self.digests())];
        wiping_stack(|| {
            for (name, key) in keys {
                for state in hmac_states(key) {
                    see(name, &Zeroizing::new(state));
                }
            }
        });
    }
}

/// What is as good as the key, or derived from it: HKDF's extracted key, what is expanded from it, and the HMAC
/// states of each key.
fn derived(seed: Seed) -> Vec<Vec<u8>> {
    let key = seed.canary("key", 32).wiped();
    let extracted = hmac(&[0; 32], key.as_bytes());
    let expanded = hmac(&extracted, &[LABEL.as_bytes(), &[1]].concat());
    let states = [key.as_bytes(), &extracted].map(hmac_states);
    [vec![extracted, expanded], states.concat()].concat()
}

fn key(memory: &Memory) -> Key {
    Key::from_slice(memory.canary("key", 32).wiped().as_bytes()).unwrap()
}

type Use<'a> = &'a dyn Fn(&Key);

#[test]
fn no_use_of_a_key_leaves_a_copy() {
    in_child_of(
        "crypto::tests::no_use_of_a_key_leaves_a_copy",
        derived,
        |memory| {
            let text = memory.canary("text", 100);
            let context = Context::new("test", &[b"context"]);
            let uses: [(&str, Use<'_>); 4] = [
                ("derive", &|key| drop(derive(key.as_bytes(), LABEL))),
                ("digest", &|key| {
                    drop(keyed_digest(key.as_bytes(), &context));
                }),
                ("seal", &|key| {
                    drop(seal(key.as_bytes(), &context, text.wiped().as_bytes()).unwrap());
                }),
                ("open", &|key| {
                    let sealed = seal(key.as_bytes(), &context, text.wiped().as_bytes()).unwrap();
                    drop(open(key.as_bytes(), &context, &sealed).unwrap());
                }),
            ];
            for (name, work) in uses {
                deep(|| work(&key(memory)));
                memory.assert_clean(name);
            }
        },
    );
}

#[test]
fn a_passphrase_leaves_no_copy() {
    let params = KdfParams::new(19 * 1024, 2, 1).unwrap();
    in_child_of(
        "crypto::tests::a_passphrase_leaves_no_copy",
        |seed| {
            let passphrase = seed.canary("passphrase", 40).wiped();
            let key = stretch(passphrase.as_bytes(), &[7; 16], params).unwrap();
            vec![key.as_bytes().to_vec()]
        },
        |memory| {
            let passphrase = memory.canary("passphrase", 40);
            deep(|| drop(stretch(passphrase.wiped().as_bytes(), &[7; 16], params).unwrap()));
            memory.assert_clean("stretched");
        },
    );
}

/// Objects are made of them that stay, and what is not set in these is whatever lay on the stack before.
#[test]
fn rows_that_are_opened_leave_no_copy_of_a_key() {
    in_child(
        "crypto::tests::rows_that_are_opened_leave_no_copy_of_a_key",
        |memory| {
            let ring = KeyRing::random(VaultId::random().unwrap()).unwrap();
            let user = UserId::LOCAL;
            let rows = [0, 1, 2, 3, 4, 5, 6, 7].map(|id: u128| {
                let mut metadata = Metadata::of_default(id, "linear", "linear_*", "token");
                let info = &mut metadata.info;
                info.format = (id & 1 != 0).then(|| "Bearer {}".to_owned());
                info.display = (id & 2 != 0).then(|| "********".to_owned());
                if id & 4 != 0 {
                    (info.tool_name, info.tool_arg) = (None, None);
                    info.is_default_for_tool = false;
                }
                let row = ring.seal_row(&metadata, &"4QvT9sLm".into()).unwrap();
                (ring.row_tag(user, metadata.info.secret_id), Arc::new(row))
            });
            let mut at = u64::MAX;
            ring.each_key(|name, key| {
                at = at.min(key.as_ptr().addr() as u64);
                memory.watch(name, 8, key.iter().copied());
            });
            ring.each_hmac_state(|name, state| memory.watch(name, 8, state.iter().copied()));
            let (mut opened, mut members) = (Vec::new(), Vec::new());
            deep(|| {
                let keep = |metadata, row: &Arc<_>, member| {
                    let entry = Entry::new(metadata, Arc::clone(row), &opened);
                    opened.push(entry.unwrap());
                    members.push(Box::new(member));
                    Ok(())
                };
                ring.open_rows(user, &rows, keep).unwrap();
                // Its metadata is another row's, and does not open.
                let swapped = [(rows[0].0, Arc::clone(&rows[1].1))];
                ring.open_rows(user, &swapped, |_, _, _| Ok(()))
                    .unwrap_err();
            });
            let found = memory.search();
            let elsewhere: Vec<_> = found
                .iter()
                .filter(|found| !(at..at + 1024).contains(&found.address))
                .collect();
            assert!(elsewhere.is_empty(), "{elsewhere:#?}");
            assert!(opened.len() == rows.len() && !found.is_empty());
        },
    );
}
