"""Types at the command line's prompts in a pseudo-terminal: check.py KEYWARD"""

import os
import pty
import select
import signal
import sys
import tempfile
import termios
import time

KEYWARD = os.path.abspath(sys.argv[1])
PASSPHRASE, VALUE = "correct horse battery", "lin_api_Zq8wT3vN"
checks = 0

# Whoever starts this in the background may have it ignored, and so would the programs that are tried.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


def run(args, dialogue=(), code=0, env=(), errors=None):
    """Answers each prompt; the whole of what the terminal showed. `errors` is a file for standard error."""
    child, terminal = pty.fork()
    if child == 0:
        if errors:
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.execve(KEYWARD, [KEYWARD, *args], {**os.environ, "TERM": "xterm", **dict(env)})
    shown = ""
    for prompt, answer in dialogue:
        shown += read(terminal, prompt)
        os.write(terminal, answer if isinstance(answer, bytes) else f"{answer}\n".encode())
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
    shown = run(["init"], [("New passphrase: ", PASSPHRASE), ("Repeat passphrase: ", "wrong")], code=5)
    check("two different passphrases are refused", "do not match" in shown, shown)
    run(["init"], [("New passphrase: ", PASSPHRASE), ("Repeat passphrase: ", PASSPHRASE)])
    # A letter of Latin-1 is no UTF-8, and two of them are not the same passphrase.
    shown = run(["list"], [("Passphrase: ", b"caf\xe9 b\xf6hm\n")], code=5)
    check("what is no UTF-8 is refused", "not valid UTF-8" in shown, shown)
    for args in (["list"], ["add", "linear"], ["passphrase"], ["slots", "add"], ["rotate", "master", "--keep-passphrase"]):
        run(args, [("Passphrase: ", "wrong")], code=7)
    run(["add", "linear", "--tool", "x*", "--arg", "key"], [("Passphrase: ", PASSPHRASE), ("Value: ", VALUE)])
    run(["add", "linear2", "--tool", ""], code=5)
    run(["add", "linear2"], [("Passphrase: ", PASSPHRASE), ("Value: ", b"lin_api_\xff\n")], code=5)
    shown = run(["list"], [("Passphrase: ", PASSPHRASE)])
    check("a heading is bold on a terminal", "\x1b[1mNAME" in shown and "li********vN" in shown, shown)
    shown = run(["list"], [("Passphrase: ", PASSPHRASE)], env=[("NO_COLOR", "1")])
    check("but not where colours are not wanted", "\x1b[" not in shown, shown)
    another = "another passphrase"
    run(["passphrase"], [("Passphrase: ", PASSPHRASE), ("New passphrase: ", another), ("Repeat passphrase: ", another)])
    run(["list"], [("Passphrase: ", PASSPHRASE)], code=7)
    shown = run(["run", "--env", "KEY=secret://linear", "--", "sh", "-c", "echo key=$KEY"], [("Passphrase: ", another)], code=125)
    check("a binding holds in a terminal, too", "denied" in shown, shown)
    run(["update", "linear", "--no-tool", "--no-arg"], [("Passphrase: ", another)])
    shown = run(["run", "--env", "KEY=secret://linear", "--", "sh", "-c", "read x; echo $x key=$KEY"],
                [("Passphrase: ", another), ("\r\n", "typed")])
    check("the command has the terminal's input", "typed key=secret://linear" in shown, shown)
    shown = run(["mcp", "--", "cat"], code=125)
    check("the proxy asks for nothing", "no key for the vault" in shown, shown)

    # What is pasted with further lines is no value, and the shell does not get them.
    several = "more than one line was pasted"
    for lines, says in (
        (b"-----BEGIN KEY-----\nMC4CAQAw\n-----END KEY-----", several),
        (b"first line\nsecond line without an end", several),
        (b"one\n\r\ntwo", several),
        (b"no UTF-8 \xff\nsecond line\n", "not valid UTF-8"),
    ):
        script = f"stty -echo; '{KEYWARD}' add pasted; echo ended with $?; stty echo; read -r x; echo the shell reads [$x]"
        child, terminal = pty.fork()
        if child == 0:
            os.execve("/bin/sh", ["sh", "-c", script], os.environ)
        shown = read(terminal, "Passphrase: ")
        os.write(terminal, f"{another}\n".encode())
        shown += read(terminal, "Value: ")
        os.write(terminal, lines)
        shown += read(terminal, "ended with 5")
        os.write(terminal, b"echo typed later\n")
        shown += read(terminal, None)
        check("what was pasted is refused", says in shown, shown)
        check("and does not reach the shell", "the shell reads [echo typed later]" in shown, shown)
        os.waitpid(child, 0)
        os.close(terminal)
    run(["show", "pasted"], [("Passphrase: ", another)], code=3)
    run(["add", "pasted"], [("Passphrase: ", another), ("Value: ", "the-only-line\r\n")])

    # A prompt that is ended by a signal leaves a terminal that shows what is typed.
    for ending in (signal.SIGINT, signal.SIGTERM):
        child, terminal = pty.fork()
        if child == 0:
            os.execve(KEYWARD, [KEYWARD, "list"], os.environ)
        read(terminal, "Passphrase: ")
        check("a prompt shows nothing", not termios.tcgetattr(terminal)[3] & termios.ECHO)
        if ending == signal.SIGINT:
            # The key is read as a character, not by the terminal.
            while termios.tcgetattr(terminal)[3] & termios.ISIG:
                time.sleep(0.001)
            os.write(terminal, b"\x03")
        else:
            os.kill(child, ending)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        check(f"{ending} ends a prompt", status == -ending, str(status))
        check(f"{ending} leaves a terminal with echo", termios.tcgetattr(terminal)[3] & termios.ECHO)
        os.close(terminal)

    # In a job that the terminal does not belong to, a prompt does not come up, and the job can be ended.
    child, terminal = pty.fork()
    if child == 0:
        os.execve("/bin/sh", ["sh", "-c", f"timeout 1 '{KEYWARD}' list; echo ended with $?"], os.environ)
    check("a job in the background is ended", "ended with 124" in read(terminal, None))
    os.waitpid(child, 0)
    os.close(terminal)

    # What is ignored from the start, as by `nohup`, is so for the command as well, also after a prompt.
    if os.path.exists("/proc/self/status"):
        child, terminal = pty.fork()
        if child == 0:
            script = f"trap '' HUP INT; exec '{KEYWARD}' run -- grep SigIgn: /proc/self/status"
            os.execve("/bin/sh", ["sh", "-c", script], os.environ)
        read(terminal, "Passphrase: ")
        os.write(terminal, f"{another}\n".encode())
        shown = read(terminal, None)
        ignored = int(shown.split("SigIgn:")[1], 16)
        check("ignored signals stay ignored", ignored & 3 == 3, shown)
        os.waitpid(child, 0)
        os.close(terminal)
        child, terminal = pty.fork()
        if child == 0:
            os.execve("/bin/sh", ["sh", "-c", f"trap '' INT; exec '{KEYWARD}' list"], os.environ)
        read(terminal, "Passphrase: ")
        while termios.tcgetattr(terminal)[3] & termios.ISIG:
            time.sleep(0.001)
        os.write(terminal, b"\x03")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        check("Ctrl-C ends a prompt also where it is no signal", status == 2, str(status))
        os.close(terminal)

    # Bulk work, without prompts.
    def file(name):
        return os.path.join(folder, name)

    def vault(name):
        return [("KEYWARD_VAULT", file(name)), ("KEYWARD_KEY_FILE", file("key"))]

    def wrote(args, env, **others):
        """What stays on the terminal, and what did not: each line of a bar begins with a carriage return."""
        shown = run(args, env=env, **others)
        drawn, end, stays = shown.rpartition("\r\x1b[2K")
        return drawn + end, stays

    run(["init"], env=vault("many"))
    run(["init"], env=vault("other"))
    # The terminal tells the whole job of Ctrl-C, so the command is not told again, whatever its input is. What a process
    # sends is for the command. This one has left the terminal's reach, and hears only what is passed on.
    listens = "trap 'echo told' INT; trap 'exit 3' USR1; echo ready; while :; do sleep 0.01; done"
    for given in ("", "< /dev/null"):
        for by_terminal in (True, False):
            what = f"{'the terminal' if by_terminal else 'a process'} interrupts, {given or 'and the input is a terminal'}"
            child, terminal = pty.fork()
            if child == 0:
                script = f"exec '{KEYWARD}' run -- setsid sh -c \"$0\" {given}"
                os.execve("/bin/sh", ["sh", "-c", script, listens], {**os.environ, **dict(vault("many"))})
            shown = read(terminal, "ready\r\n")
            if by_terminal:
                os.write(terminal, b"\x03")
                shown += read(terminal, "^C")
            else:
                os.kill(child, signal.SIGINT)
                shown += read(terminal, "told\r\n")
            os.kill(child, signal.SIGUSR1)
            shown += read(terminal, None)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            check(f"{what}: the command ends", status == 3, f"{status}: {shown}")
            check(f"{what}: it was told if a process did", shown.count("told") == (0 if by_terminal else 1), shown)
            os.close(terminal)
    child, terminal = pty.fork()
    if child == 0:
        os.execve(KEYWARD, [KEYWARD, "run", "--", "sh", "-c", "echo ready; exec sleep 60"], {**os.environ, **dict(vault("many"))})
    read(terminal, "ready\r\n")
    os.write(terminal, b"\x03")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    check("Ctrl-C ends the command, and keyward likewise", status == -signal.SIGINT, str(status))
    os.close(terminal)

    with open(file(".env"), "w") as variables:
        variables.write("".join(f"KEY_{n}=value-{n}\n" for n in range(5)))
    counted = "5 of 5"
    bulk = [
        ("many", ["add", "--from-env-file", file(".env")], "adding ", "added 5 secrets"),
        ("many", ["rotate", "data"], counted, "resealed 5 secrets"),
        ("many", ["verify"], counted, "checked 5 secrets"),
        ("many", ["backup", file("copy")], counted, "copied the vault to"),
        ("many", ["export", file("export"), "--new-key-file", file("key")], counted, "exported all secrets to"),
        ("other", ["import", file("export"), "--from-key-file", file("key")], counted, "added 5 secrets"),
        ("other", ["compact"], "compacting ", "compacted"),
    ]
    for name, args, bar, answer in bulk:
        drawn, stays = wrote(args, vault(name))
        check(f"{args}: progress is shown on a terminal", bar in drawn, drawn)
        check(f"{args}: and only the answer stays", answer in stays and bar not in stays, stays)
    quiet = [
        ("standard error is no terminal", {"errors": file("errors")}, []),
        ("the answer is for a program", {}, ["--json"]),
        ("the terminal cannot move its cursor", {}, []),
    ]
    for why, others, more in quiet:
        dumb = [("TERM", "dumb")] if "cursor" in why else []
        for args in (["rotate", "data"], ["compact"]):
            drawn, stays = wrote([*args, *more], vault("many") + dumb, **others)
            check(f"{args}: no progress where {why}", not drawn and stays, drawn)
    check("nor in the file that standard error is", os.path.getsize(file("errors")) == 0)
print(f"a terminal: {checks} checks")
