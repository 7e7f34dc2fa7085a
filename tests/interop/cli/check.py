"""Types at the command line's prompts in a pseudo-terminal: check.py KEYWARD"""

import os
import pty
import select
import sys
import tempfile
import time

KEYWARD = os.path.abspath(sys.argv[1])
PASSPHRASE, VALUE = "correct horse battery", "lin_api_Zq8wT3vN"
checks = 0


def check(what, holds, detail=""):
    global checks
    checks += 1
    if not holds:
        sys.exit(f"FAILED: {what}\n{detail}")


def read(terminal, until):
    """What the terminal shows, up to this text; up to the end without one."""
    shown = ""
    deadline = time.monotonic() + 60
    while until is None or not shown.endswith(until):
        check(f"the terminal shows {until!r}", select.select([terminal], [], [], deadline - time.monotonic())[0], shown)
        try:
            chunk = os.read(terminal, 1 if until else 4096)
        except OSError:
            chunk = b""
        if not chunk:
            check(f"the terminal shows {until!r}", until is None, shown)
            break
        shown += chunk.decode()
    return shown


def run(args, dialogue=(), code=0, env=()):
    """Answers each prompt; the whole of what the terminal showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(KEYWARD, [KEYWARD, *args], {**os.environ, "TERM": "xterm", **dict(env)})
    shown = ""
    for prompt, answer in dialogue:
        shown += read(terminal, prompt)
        os.write(terminal, f"{answer}\n".encode())
    shown += read(terminal, None)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    check(f"{args} ends with {code}", status == code, shown)
    for secret in (PASSPHRASE, VALUE, "another passphrase", "wrong"):
        check(f"{args}: nothing typed is shown", secret not in shown, shown)
    return shown


for variable in ("KEYWARD_KEY_FILE", "KEYWARD_PASSPHRASE", "KEYWARD_KEYRING", "NO_COLOR"):
    os.environ.pop(variable, None)
with tempfile.TemporaryDirectory() as folder:
    os.environ["KEYWARD_VAULT"] = os.path.join(folder, "deep", "vault.keyward")
    shown = run(["init"], [("New passphrase: ", PASSPHRASE), ("The same again: ", "wrong")], code=5)
    check("two different passphrases are refused", "not the same" in shown, shown)
    run(["init"], [("New passphrase: ", PASSPHRASE), ("The same again: ", PASSPHRASE)])
    run(["list"], [("Passphrase: ", "wrong")], code=7)
    run(["add", "linear", "--tool", "x*", "--arg", "key"], [("Passphrase: ", PASSPHRASE), ("Value: ", VALUE)])
    run(["add", "linear2", "--tool", ""], code=5)
    shown = run(["list"], [("Passphrase: ", PASSPHRASE)])
    check("a heading is bold on a terminal", "\x1b[1mNAME" in shown and "li********vN" in shown, shown)
    shown = run(["list"], [("Passphrase: ", PASSPHRASE)], env=[("NO_COLOR", "1")])
    check("but not where colours are not wanted", "\x1b[" not in shown, shown)
    shown = run(["rotate", "data"], [("Passphrase: ", PASSPHRASE)])
    check("progress is shown on a terminal", "sealed again: 1 of 1" in shown, shown)
    another = "another passphrase"
    run(["passphrase"], [("Passphrase: ", PASSPHRASE), ("New passphrase: ", another), ("The same again: ", another)])
    run(["list"], [("Passphrase: ", PASSPHRASE)], code=7)
    shown = run(["run", "--env", "KEY=secret://linear", "--", "sh", "-c", "echo key=$KEY"], [("Passphrase: ", another)], code=125)
    check("a binding holds in a terminal, too", "denied" in shown, shown)
    run(["update", "linear", "--no-tool", "--no-arg"], [("Passphrase: ", another)])
    shown = run(["run", "--env", "KEY=secret://linear", "--", "sh", "-c", "read x; echo $x key=$KEY"],
                [("Passphrase: ", another), ("\r\n", "typed")])
    check("the command has the terminal's input", "typed key=secret://linear" in shown, shown)
    shown = run(["mcp", "--", "cat"], code=125)
    check("the proxy asks for nothing", "no key for the vault" in shown, shown)
print(f"prompts in a terminal: {checks} checks")
