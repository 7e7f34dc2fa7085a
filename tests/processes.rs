//! One vault file and two processes.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env,
    io::{self, BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use keyward::{ErrorKind, KeySource, NewSecret, ToolCall, UserId, Vault};
use serde_json::Map;

fn key() -> KeySource {
    KeySource::raw([7; 32])
}

/// Set when this test program runs as the other process: the file.
const CHILD: &str = "KEYWARD_TEST_OTHER_PROCESS";

/// The other process: opens the vault, writes, says how that went, and stays until it is killed or told to go on.
fn other_process(path: &str) {
    let Err(error) = Vault::open(path, key()).and_then(|vault| {
        let secret = NewSecret::new("a", "value-of-a").bind("t", "a");
        vault
            .user(UserId::LOCAL)
            .create(secret.default_for_tool())?;
        println!("it has written");
        // At the latest until the parent ends.
        let _ = io::stdin().read_line(&mut String::new());
        Ok(())
    }) else {
        return;
    };
    println!("it has failed: {:?}", error.kind());
}

/// Starts the other process; returns it and the lines that it prints.
fn start(test: &str, path: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, said)
}

/// The first line that says how it went.
fn outcome(said: &mut Lines<BufReader<ChildStdout>>) -> String {
    let mut lines = said.map(Result::unwrap);
    lines
        .find_map(|line| line.find("it has ").map(|at| line[at..].to_owned()))
        .expect("it says how it went")
}

#[test]
fn the_second_process_finds_the_vault_in_use_until_the_first_is_killed() {
    if let Ok(path) = env::var(CHILD) {
        return other_process(&path);
    }
    let test = "the_second_process_finds_the_vault_in_use_until_the_first_is_killed";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    drop(Vault::create(&path, key()).unwrap());

    let (mut first, mut said) = start(test, &path);
    assert_eq!(outcome(&mut said), "it has written");
    for _ in 0..2 {
        let error = Vault::open(&path, key()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        let wait = Duration::from_millis(1);
        let error = Vault::builder().wait(wait).open(&path, key()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    }
    // This is so even with the wrong key: the file is not even read.
    let error = Vault::open(&path, KeySource::raw([8; 32])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");

    first.kill().unwrap();
    first.wait().unwrap();
    let vault = Vault::open(&path, key()).unwrap();
    vault.verify().unwrap();
    let mut args = Map::new();
    let user = vault.user(UserId::LOCAL);
    let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
    assert_eq!(args["a"], "value-of-a");
    assert_eq!(vault.usage().unwrap().secrets, 1);

    // The other way round.
    let (mut second, mut said) = start(test, &path);
    assert_eq!(outcome(&mut said), "it has failed: InUse");
    assert!(second.wait().unwrap().success());
    user.delete("a").unwrap();
    drop((vault, user));
    let (mut third, mut said) = start(test, &path);
    assert_eq!(outcome(&mut said), "it has written");
    // It ends by itself, and closes the vault.
    drop(third.stdin.take());
    assert!(third.wait().unwrap().success());
    assert_eq!(
        Vault::open(&path, key()).unwrap().usage().unwrap().secrets,
        1
    );
}
