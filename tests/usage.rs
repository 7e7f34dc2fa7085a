//! Usage is what counting the secrets gives, after any sequence of operations and from several threads.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use keyward::{NewSecret, Quota, SecretInfo, SecretPatch, Usage, UserId, UserVault, Vault};
use proptest::prelude::*;
use uuid::Uuid;

/// What the vault should hold: the length in bytes of each value, by user and name.
type Model = BTreeMap<(u128, String), usize>;

#[derive(Debug, Clone)]
enum Op {
    Create {
        name: u8,
        value: usize,
        bound: bool,
    },
    Update {
        name: u8,
        value: Option<usize>,
        new_name: Option<u8>,
        unbind: bool,
    },
    Delete {
        name: u8,
    },
    Batch(Vec<Op>),
    DeleteUser,
}

fn op() -> impl Strategy<Value = Op> {
    let single = prop_oneof![
        4 => (0..6_u8, 0..60_usize, any::<bool>())
            .prop_map(|(name, value, bound)| Op::Create { name, value, bound }),
        3 => (0..6_u8, prop::option::of(0..60_usize), prop::option::of(0..6_u8), any::<bool>()).prop_map(
            |(name, value, new_name, unbind)| Op::Update { name, value, new_name, unbind }
        ),
        2 => (0..6_u8).prop_map(|name| Op::Delete { name }),
    ];
    prop_oneof![
        9 => single.clone(),
        2 => prop::collection::vec(single, 0..5).prop_map(Op::Batch),
        1 => Just(Op::DeleteUser),
    ]
}

/// A value of `chars` two-byte characters; with fewer than 4 it is too short, and the operation fails.
fn value(chars: usize) -> String {
    "é".repeat(chars)
}

fn name(name: u8) -> String {
    format!("name-{name}")
}

fn new_secret(n: u8, chars: usize, bound: bool) -> NewSecret {
    let secret = NewSecret::new(name(n), value(chars));
    if bound {
        secret
            .bind(format!("tool-{}", n % 3), "k")
            .default_for_tool()
    } else {
        secret
    }
}

fn patch(chars: Option<usize>, new_name: Option<u8>, unbind: bool) -> SecretPatch {
    let mut patch = SecretPatch::new();
    if let Some(chars) = chars {
        patch = patch.value(value(chars));
    }
    if let Some(n) = new_name {
        patch = patch.name(name(n));
    }
    if unbind { patch.unbind() } else { patch }
}

/// Applies the operation, which may fail; then nothing changes. The model is updated with what succeeded.
fn apply(vault: &Vault, user: &UserVault, op: &Op, model: &mut Model) {
    let key = |n: &String| (user.id().as_uuid().as_u128(), n.clone());
    let before = user.secrets().unwrap();
    let failed = match op {
        Op::Create {
            name: n,
            value,
            bound,
        } => match user.create(new_secret(*n, *value, *bound)) {
            Ok(info) => {
                model.insert(key(&info.secret_name), 2 * value);
                false
            }
            Err(_) => true,
        },
        Op::Update {
            name: n,
            value,
            new_name,
            unbind,
        } => match user.update(name(*n), patch(*value, *new_name, *unbind)) {
            Ok(info) => {
                let old = model.remove(&key(&name(*n))).expect("it was there");
                model.insert(key(&info.secret_name), value.map_or(old, |chars| 2 * chars));
                false
            }
            Err(_) => true,
        },
        Op::Delete { name: n } => match user.delete(name(*n)) {
            Ok(()) => model.remove(&key(&name(*n))).is_none(),
            Err(_) => true,
        },
        Op::Batch(ops) => {
            let ids: BTreeMap<_, _> = before
                .iter()
                .map(|info| (info.secret_id, model[&key(&info.secret_name)]))
                .collect();
            let result = user.batch(|batch| {
                for op in ops {
                    match op {
                        Op::Create {
                            name: n,
                            value,
                            bound,
                        } => batch.create(new_secret(*n, *value, *bound)),
                        Op::Update {
                            name: n,
                            value,
                            new_name,
                            unbind,
                        } => {
                            batch.update(name(*n), patch(*value, *new_name, *unbind));
                        }
                        Op::Delete { name: n } => batch.delete(name(*n)),
                        Op::Batch(_) | Op::DeleteUser => {
                            unreachable!("batches hold single operations")
                        }
                    }
                }
            });
            match result {
                Ok(infos) => {
                    let mut lengths = ids;
                    for (op, info) in ops.iter().zip(infos) {
                        let written = match op {
                            Op::Create { value, .. } => Some(*value),
                            Op::Update { value, .. } => *value,
                            _ => None,
                        };
                        if let Some(chars) = written {
                            lengths.insert(info.expect("it was written").secret_id, 2 * chars);
                        }
                    }
                    model.retain(|(owner, _), _| *owner != user.id().as_uuid().as_u128());
                    for info in user.secrets().unwrap() {
                        model.insert(key(&info.secret_name), lengths[&info.secret_id]);
                    }
                    false
                }
                Err(_) => true,
            }
        }
        Op::DeleteUser => {
            vault.delete_user(user.id()).unwrap();
            model.retain(|(owner, _), _| *owner != user.id().as_uuid().as_u128());
            false
        }
    };
    if failed {
        assert_eq!(
            user.secrets().unwrap(),
            before,
            "a failed operation changes nothing: {op:?}"
        );
    }
}

fn recount(user: &UserVault, model: &Model) -> (u64, u64) {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let size = |info: &SecretInfo| {
        let value = model[&(user.id().as_uuid().as_u128(), info.secret_name.clone())];
        value + info.secret_name.len() + optional(&info.tool_name) + optional(&info.tool_arg)
    };
    let secrets = user.secrets().unwrap();
    (
        secrets.len() as u64,
        secrets.iter().map(|info| size(info) as u64).sum(),
    )
}

fn pair(usage: Usage) -> (u64, u64) {
    (usage.secrets, usage.bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn usage_is_what_a_recount_gives(ops in prop::collection::vec((0..3_u128, op()), 1..40)) {
        let quota = Quota::default().user_secrets(4).user_bytes(250).vault_secrets(9).vault_bytes(500);
        let vault = Vault::builder().quota(quota).in_memory().unwrap();
        let users: Vec<UserVault> =
            (0..3).map(|user| vault.user(UserId::new(Uuid::from_u128(user)))).collect();
        let mut model = Model::new();
        for (user, op) in &ops {
            apply(&vault, &users[usize::try_from(*user).unwrap()], op, &mut model);
            let mut total = (0, 0);
            for user in &users {
                let counted = recount(user, &model);
                prop_assert_eq!(pair(user.usage().unwrap()), counted);
                prop_assert!(counted.0 <= 4 && counted.1 <= 250);
                total = (total.0 + counted.0, total.1 + counted.1);
            }
            prop_assert_eq!(pair(vault.usage().unwrap()), total);
            prop_assert!(total.0 <= 9 && total.1 <= 500);
        }
        vault.verify().unwrap();
    }
}

#[test]
fn usage_is_exact_under_concurrent_writers() {
    const LIMIT: u64 = 40;
    let quota = Quota::unlimited().user_secrets(25).vault_secrets(LIMIT);
    let vault = Vault::builder().quota(quota).in_memory().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u128 {
            let vault = vault.clone();
            scope.spawn(move || {
                // Two threads for each of two users, so that both the user's and the vault's limits are fought for.
                let user = vault.user(UserId::new(Uuid::from_u128(thread % 2)));
                for round in 0..150_u128 {
                    let name = format!("{thread}-{}", round % 30);
                    let _ = user.create(NewSecret::new(
                        &*name,
                        value(4 + usize::try_from(round % 7).unwrap()),
                    ));
                    let usage = vault.usage().unwrap();
                    assert!(usage.secrets <= LIMIT);
                    assert!(user.usage().unwrap().secrets <= 25);
                    if round % 3 == 0 {
                        let _ = user.delete(format!("{thread}-{}", round % 13));
                    }
                    let _ = user.update(&*name, SecretPatch::new().value("other-value"));
                }
            });
        }
    });
    let counted: usize = (0..2_u128)
        .map(|user| {
            vault
                .user(UserId::new(Uuid::from_u128(user)))
                .secrets()
                .unwrap()
                .len()
        })
        .sum();
    assert_eq!(vault.usage().unwrap().secrets, counted as u64);
    assert!(counted > 0);
    vault.verify().unwrap();
}
