//! The command line, as scripts: `tests/cli/*.console` hold commands and what they print.
//!
//! A line that begins with `$ ` is run by `sh`. What it prints on both outputs follows, without empty lines, and
//! then `[exit N]` unless N is 0. Ids, times, hashes and the folder are replaced by `[ID]`, `[TIME]`, `[HASH]` and
//! `[DIR]`; `$TESTS` is the folder of the scripts. With `KEYWARD_BLESS=1` the files are rewritten.

#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixStream, process::ExitStatusExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
};

use keyward::{KeySource, NewSecret, UserId, Vault};
use uuid::Uuid;

mod database;

use database::damage_first_row;

#[test]
fn the_life_of_a_vault() {
    check("life");
}

#[test]
fn keys_and_copies() {
    check("keys");
}

/// The library opens what the program made.
#[test]
fn a_vault_and_its_key_file_are_for_programs_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let [vault, key] = ["vault.keyward", "key"].map(|name| folder.path().join(name));
    let made = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["init".as_ref(), "--vault".as_ref(), vault.as_os_str()])
        .args(["--key-file".as_ref(), key.as_os_str()])
        .output();
    assert!(made.unwrap().status.success());
    let opened = Vault::open(&vault, KeySource::key_file(&key).unwrap());
    assert!(
        opened
            .unwrap()
            .user(UserId::LOCAL)
            .secrets()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn programs_with_secrets() {
    check("programs");
}

#[test]
fn checks_against_tools() {
    check("checks");
}

#[test]
fn the_audit_log() {
    check("audit");
}

#[test]
fn what_goes_wrong() {
    check("errors");
}

#[test]
fn a_script_of_completions_names_every_command() {
    let keyward = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(args)
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{args:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let help = keyward(&["--help"]);
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        commands.len() > 20 && commands.contains(&"completions"),
        "{commands:?}"
    );
    let words = |script: &str| -> Vec<String> {
        let is_part = |c: char| c.is_alphanumeric() || c == '-';
        script.split(|c| !is_part(c)).map(str::to_owned).collect()
    };
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = words(&keyward(&["completions", shell]));
        for word in commands.iter().chain(&["--from-env-file", "--supplied"]) {
            // Some write an option's dashes separately from its name.
            let name = word.trim_start_matches('-');
            assert!(
                script.iter().any(|found| found == word || found == name),
                "{shell}: {word}"
            );
        }
    }
}

#[test]
fn bash_completes_with_its_script() {
    let script = "eval \"$(\"$0\" completions bash)\"
        COMP_WORDS=(keyward \"$@\") COMP_CWORD=$#
        _keyward keyward \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        echo \"${COMPREPLY[*]}\"";
    for (typed, expected) in [
        (&["ro"][..], "rotate\n"),
        (&["rotate", "m"], "master\n"),
        (&["mcp", "--sup"], "--supplied\n"),
        (&["mcp", "--supplied", "re"], "replace refuse\n"),
    ] {
        let output = Command::new("bash")
            .args(["-ec", script, env!("CARGO_BIN_EXE_keyward")])
            .args(typed)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{typed:?}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{typed:?}"
        );
    }
}

#[test]
fn a_reader_that_is_gone_changes_nothing_but_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let value = dir.path().join("value");
    fs::write(&value, "lin_api_Zq8wT3vN").unwrap();
    let keyward = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command
            .args(args)
            .current_dir(dir.path())
            .env_clear()
            .env("KEYWARD_VAULT", dir.path().join("vault.keyward"))
            .env("KEYWARD_KEY_FILE", dir.path().join("key"))
            .stdin(fs::File::open(&value).unwrap());
        command
    };
    let nobody = || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        writer
    };
    for (args, code) in [
        (&["init"][..], 0),
        (&["add", "linear"], 0),
        (&["list"], 0),
        (&["list", "--json"], 0),
        (&["completions", "bash"], 0),
        (&["show", "nosuch"], 3),
        (&["show", "nosuch", "--json"], 3),
    ] {
        let output = keyward(args).stdout(nobody()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{args:?}");
        if code != 0 {
            let output = keyward(args).stderr(nobody()).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{args:?}");
        }
    }
    let listed = keyward(&["list"]).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("linear"));
}

/// A shell goes on with a script after an exit code, whatever it is.
#[test]
fn a_program_that_is_interrupted_interrupts_keyward() {
    let dir = tempfile::tempdir().unwrap();
    let ended = |args: &[&str]| {
        // The tests may have been started to ignore it.
        let command = ["--default-signal=INT", env!("CARGO_BIN_EXE_keyward")];
        let output = Command::new("env")
            .args(command)
            .args(args)
            .current_dir(dir.path())
            .env("KEYWARD_VAULT", dir.path().join("vault.keyward"))
            .env("KEYWARD_KEY_FILE", dir.path().join("key"))
            .output();
        let output = output.unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.signal(), output.status.code(), printed)
    };
    assert_eq!(ended(&["init"]).1, Some(0));
    for (signal, by, code) in [
        ("INT", Some(2), None),
        ("TERM", None, Some(143)),
        ("KILL", None, Some(137)),
    ] {
        let script = format!("echo all of it; kill -{signal} $$");
        for redact in [&[][..], &["--no-redact"]] {
            let args = [&["run"], redact, &["--", "sh", "-c", &script]].concat();
            let expected = (by, code, "all of it\n".to_owned());
            assert_eq!(ended(&args), expected, "{signal}, {redact:?}");
        }
    }
}

/// Each line ends in a character with which the value, or its base64, begins. The next line comes only after this one
/// was answered; `timeout` ends the test where it is not passed on.
#[test]
fn a_line_that_somebody_waits_for_is_passed_on_whole() {
    let dir = tempfile::tempdir().unwrap();
    let vault = dir.path().join("vault.keyward");
    let key = dir.path().join("key");
    let keyward = |command: &mut Command| {
        let command = command.current_dir(dir.path());
        command
            .env("KEYWARD_VAULT", &vault)
            .env("KEYWARD_KEY_FILE", &key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    };
    let bin = env!("CARGO_BIN_EXE_keyward");
    let mut init = keyward(Command::new(bin).arg("init")).unwrap();
    assert!(init.wait().unwrap().success());
    let mut add = keyward(Command::new(bin).args(["add", "linear"])).unwrap();
    let mut value = add.stdin.take().unwrap();
    value.write_all(b"lin_api_Zq8wT3vN").unwrap();
    drop(value);
    assert!(add.wait().unwrap().success());

    let script =
        r#"for last in l b G W m 2 a; do echo "line $last"; read -r answer; done; echo "$KEY""#;
    let run = ["--env", "KEY=secret://linear", "--", "sh", "-c", script];
    let mut run = keyward(Command::new("timeout").args(["60", bin, "run"]).args(run)).unwrap();
    let mut answers = run.stdin.take().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    for last in ["l", "b", "G", "W", "m", "2", "a"] {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("line {last}"));
        answers.write_all(b"yes\n").unwrap();
    }
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest, ["secret://linear"]);
    assert!(run.wait().unwrap().success());
}

/// As where a command sets its standard input to that, if this is a terminal or a socket for both directions. There is
/// no room from the start.
#[test]
fn output_to_what_does_not_let_a_writer_wait_is_passed_on_whole() {
    const LENGTH: usize = 2_000_000;
    let dir = tempfile::tempdir().unwrap();
    let [vault, key] = ["vault.keyward", "key"].map(|name| dir.path().join(name));
    let keyward = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.args(args).current_dir(dir.path());
        command
            .env("KEYWARD_VAULT", &vault)
            .env("KEYWARD_KEY_FILE", &key);
        command
    };
    assert!(keyward(&["init"]).output().unwrap().status.success());
    for command in ["run", "mcp"] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let already = fill(&theirs);
        let begun = dir.path().join(command);
        let script = format!(": > {command}; head -c {LENGTH} /dev/zero; exit 7");
        let mut run = keyward(&[command, "--", "sh", "-c", &script])
            .stdin(if command == "run" {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        while !begun.exists() {
            thread::yield_now();
        }
        let mut printed = Vec::new();
        ours.read_to_end(&mut printed).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(7), "{command}");
        assert_eq!(printed.len(), already + LENGTH, "{command}");
    }
}

/// Writes until nothing more fits. Returns how many bytes that were.
fn fill(mut stream: &UnixStream) -> usize {
    let mut written = 0;
    loop {
        match stream.write(&[0; 4096]) {
            Ok(length) => written += length,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return written;
            }
        }
    }
}

/// The others can then be exported again.
#[test]
fn a_user_whose_secrets_are_damaged_can_be_found_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let [vault, key] = ["vault.keyward", "key"].map(|name| dir.path().join(name));
    fs::write(&key, [7; 32]).unwrap();
    let made = Vault::create(&vault, KeySource::raw([7; 32])).unwrap();
    let users = [UserId::LOCAL, UserId::new(Uuid::from_u128(1))];
    for user in users {
        let secret = NewSecret::new("a", "value-of-a");
        made.user(user).create(secret).unwrap();
    }
    drop(made);
    damage_first_row(&vault);
    let keyward = |args: &[&str]| -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.args(args).current_dir(dir.path());
        command
            .env("KEYWARD_VAULT", &vault)
            .env("KEYWARD_KEY_FILE", &key);
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), printed)
    };
    let copied = |copy: &str| keyward(&["export", copy, "--new-key-file", "key"]).0;
    assert_eq!(copied("1"), Some(9));
    let (code, listed) = keyward(&["users", "list"]);
    assert_eq!(code, Some(0));
    let damaged: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix("  damaged  damaged"))
        .collect();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let [damaged] = damaged[..] else {
        panic!("{listed}");
    };
    assert_eq!(keyward(&["users", "remove", damaged]).0, Some(0));
    assert_eq!(copied("2"), Some(0));
    let left = users
        .map(|user| user.to_string())
        .into_iter()
        .find(|user| user != damaged);
    let (_, listed) = keyward(&["users", "list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines.len() == 2 && lines[1].starts_with(&left.unwrap()),
        "{listed}"
    );
}

/// Neither what it was started with, nor what is in its memory.
#[cfg(target_os = "linux")]
#[test]
fn a_program_cannot_look_into_keyward() {
    let dir = tempfile::tempdir().unwrap();
    let Some(command) = for_an_ordinary_user(dir.path()) else {
        return;
    };
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let input = dir.path().join("input");
    fs::write(&input, "LINEAR=lin_api_Zq8wT3vN\n").unwrap();
    let keyward = |args: &[&str]| {
        let output = Command::new(&command[0])
            .args(&command[1..])
            .args(args)
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", env::var("PATH").unwrap())
            .env("KEYWARD_VAULT", dir.path().join("vault.keyward"))
            .env("KEYWARD_PASSPHRASE", "correct horse")
            .stdin(fs::File::open(&input).unwrap())
            .output();
        let output = output.unwrap();
        let [printed, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), printed, said)
    };
    assert_eq!(keyward(&["init"]).0, Some(0));
    for file in ["environ", "maps"] {
        // Into the program, others can look as usual.
        let script = format!("cat /proc/$$/{file} > own && echo own && cat /proc/$PPID/{file}");
        let (code, printed, said) = keyward(&["run", "--", "sh", "-c", &script]);
        assert_eq!((code, &*printed), (Some(1), "own\n"), "{file}: {said}");
        assert!(said.contains("Permission denied"), "{file}: {said}");
    }
    // Keyward itself still can, as it has to for files such as this one.
    let (code, _, said) = keyward(&["add", "--from-env-file", "/proc/self/fd/0"]);
    assert_eq!((code, &*said), (Some(0), ""));
}

/// The words of a command that runs keyward as a user who is not root, who can look at everything. `None` if that
/// cannot be. It runs a copy in this folder, which has to be open to that user.
fn for_an_ordinary_user(dir: &Path) -> Option<Vec<String>> {
    let bin = dir.join("keyward");
    // By another program: what this one has open for writing, a process that another test starts has open for a moment.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_keyward"))
        .arg(&bin)
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let id = Command::new("id").arg("-u").output().unwrap();
    let as_nobody = if id.stdout == b"0\n" {
        &nobody[..]
    } else {
        &[]
    };
    let bin = bin.to_str().unwrap();
    let command: Vec<String> = as_nobody
        .iter()
        .copied()
        .chain([bin])
        .map(str::to_owned)
        .collect();
    let help = Command::new(&command[0])
        .args(&command[1..])
        .arg("--help")
        .output();
    if !help.is_ok_and(|help| help.status.success()) {
        println!("skipped: nobody cannot be made to run {bin}");
        return None;
    }
    Some(command)
}

/// Its folder exists, though nobody can tell by looking.
#[test]
fn a_working_directory_that_cannot_be_looked_at_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let Some(command) = for_an_ordinary_user(dir.path()) else {
        return;
    };
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let script = "chmod 0 . && exec \"$@\"";
    for args in [&["init"][..], &["init", "--key-file", "key"]] {
        let output = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(&command)
            .args(args)
            .args(["--vault", "vault.keyward"])
            .current_dir(&closed)
            .env("KEYWARD_PASSPHRASE", "correct horse")
            .output();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("Permission denied"), "{args:?}: {said}");
    }
}

#[cfg(feature = "keyring")]
#[test]
fn of_a_key_file_and_the_keyring_the_one_on_the_command_line_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let keyward = |args: &[&str], environment: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(args)
            .current_dir(dir.path())
            .env_clear()
            .env("KEYWARD_VAULT", dir.path().join("vault.keyward"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    let keyring = ("KEYWARD_KEYRING", "true");
    let file = ("KEYWARD_KEY_FILE", "key");
    assert_eq!(keyward(&["init", "--key-file", "key"], &[keyring]).0, 0);
    assert_eq!(keyward(&["list", "--key-file", "key"], &[keyring]).0, 0);
    // The vault's key is not in any keyring, whichever there is.
    let (code, said) = keyward(&["list", "--keyring"], &[file]);
    assert!(matches!(code, 1 | 7), "{code}: {said}");
    assert_eq!(keyward(&["list"], &[file, ("KEYWARD_KEYRING", "0")]).0, 0);
    for (args, environment) in [
        (&["list", "--keyring", "--key-file", "key"][..], &[][..]),
        (&["list"], &[keyring, file]),
        (&["list"], &[("KEYWARD_KEYRING", "1"), file]),
    ] {
        let (code, said) = keyward(args, environment);
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains("either in a file or in the keyring"),
            "{said}"
        );
    }
}

fn check(script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli")
        .join(script)
        .with_extension("console");
    let expected = fs::read_to_string(&path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut actual = String::new();
    let mut lines = expected.lines().peekable();
    while let Some(line) = lines.next() {
        actual += line;
        actual.push('\n');
        if let Some(command) = line.strip_prefix("$ ") {
            // The scripts are for a program without a keyring, which is one more place for a key.
            actual += &run(command, dir.path())
                .replace(", --keyring", "")
                .replace(", --new-keyring", "");
            while lines
                .next_if(|line| {
                    !line.starts_with("$ ") && !line.starts_with('#') && !line.is_empty()
                })
                .is_some()
            {}
        }
    }
    if env::var_os("KEYWARD_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    } else {
        let lines = actual.lines().zip(expected.lines());
        for (number, (actual, expected)) in lines.enumerate() {
            assert_eq!(actual, expected, "{}, line {}", path.display(), number + 1);
        }
        assert_eq!(actual.len(), expected.len(), "{}", path.display());
    }
}

fn run(command: &str, dir: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_keyward")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .env("KEYWARD_VAULT", dir.join("vault.keyward"))
        .env("KEYWARD_KEY_FILE", dir.join("key"))
        .env(
            "TESTS",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli"),
        )
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !output.status.success() {
        let _ = writeln!(text, "[exit {}]", output.status.code().unwrap());
    }
    let text = text.replace(&*dir.to_string_lossy(), "[DIR]");
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| normalized(line) + "\n").collect()
}

/// With `[ID]` for UUIDs, `[TIME]` for times in any form, and `[HASH]` for hashes.
fn normalized(line: &str) -> String {
    const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    // In JSON, zeros at the end of a fraction are left out by threes.
    const TIMES: [&str; 5] = [
        "dddd-dd-ddTdd:dd:dd.ddddddZ",
        "dddd-dd-ddTdd:dd:dd.dddZ",
        "dddd-dd-ddTdd:dd:ddZ",
        "dddd-dd-dd dd:dd:dd UTC",
        "dddd-dd-dd dd:dd",
    ];
    let hash = "x".repeat(64);
    let fits = |text: &str, shape: &str| {
        text.len() >= shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, shape)| match shape {
                    b'x' => byte.is_ascii_hexdigit(),
                    b'd' => byte.is_ascii_digit(),
                    _ => byte == shape,
                })
    };
    let mut normalized = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if fits(rest, ID) && !rest.starts_with("00000000") {
            normalized += "[ID]";
            rest = &rest[ID.len()..];
        } else if fits(rest, &hash) {
            normalized += "[HASH]";
            rest = &rest[hash.len()..];
        } else if let Some(shape) = TIMES.iter().find(|shape| fits(rest, shape)) {
            normalized += "[TIME]";
            rest = &rest[shape.len()..];
        } else {
            normalized.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    normalized
}
