//! The commands about the users of a vault.

use keyward::{ErrorKind, Usage, UserId};
use serde_json::json;

use crate::{
    args::Users,
    failure::Failure,
    opener::Opener,
    output::{Output, table},
};

pub(crate) fn users(opener: Opener, output: Output, users: &Users) -> Result<(), Failure> {
    match users {
        Users::List => list(opener, output),
        Users::Remove { user } => remove(opener, output, *user),
    }
}

fn list(mut opener: Opener, output: Output) -> Result<(), Failure> {
    let vault = opener.read()?;
    let mut used = Vec::new();
    for user in vault.users()? {
        let usage = match vault.user(user).usage() {
            Ok(usage) => Some(usage),
            // So that one can see who is to be removed.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::RolledBack) => {
                None
            }
            Err(error) => return Err(error.into()),
        };
        vault.user(user).unload();
        used.push((user, usage));
    }
    let json: Vec<_> = used
        .iter()
        .map(|(user, usage)| {
            let [secrets, bytes] = numbers(*usage);
            json!({"user_id": user, "secrets": secrets, "bytes": bytes})
        })
        .collect();
    output.answer(&json, || users_table(&used))
}

fn remove(mut opener: Opener, output: Output, user: UserId) -> Result<(), Failure> {
    let vault = opener.open()?;
    if !vault.users()?.contains(&user) {
        return Err(Failure::not_found(
            "there is no such user: `keyward users list` shows who has secrets",
        ));
    }
    vault.delete_user(user)?;
    output.done(
        &json!({"user_id": user}),
        format!("removed all secrets of user {user}"),
    )
}

fn users_table(used: &[(UserId, Option<Usage>)]) -> String {
    let mut rows = vec![["USER", "SECRETS", "BYTES"].map(String::from)];
    rows.extend(used.iter().map(|(user, usage)| {
        let [secrets, bytes] = numbers(*usage)
            .map(|number| number.map_or("damaged".into(), |number| number.to_string()));
        [user.to_string(), secrets, bytes]
    }));
    table(&rows)
}

/// How many secrets and bytes there are, if that can be told.
fn numbers(usage: Option<Usage>) -> [Option<u64>; 2] {
    [
        usage.map(|usage| usage.secrets),
        usage.map(|usage| usage.bytes),
    ]
}
