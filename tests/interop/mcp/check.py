"""Drives each client against each server, with and without the proxy, and compares: check.py KEYWARD WORK"""

import base64
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

KEYWARD, WORK = sys.argv[1], Path(sys.argv[2])
HERE = Path(__file__).parent
PYTHON = sys.executable
RUN = WORK / "run"
FILES = RUN / "files"
KEY, TOKEN = "lin_api_Zq8wT3vN+/=é", "ghp_hV5cX2mQ9rT4"

CLIENTS = {
    "python": [PYTHON, str(HERE / "client.py")],
    "typescript": ["node", str(WORK / "client.mjs")],
}
PACKAGES = WORK / "node_modules" / "@modelcontextprotocol"
SERVERS = {
    "everything": ["node", str(PACKAGES / "server-everything/dist/index.js"), "stdio"],
    "filesystem": ["node", str(PACKAGES / "server-filesystem/dist/index.js"), str(FILES)],
    "fastmcp": [PYTHON, str(HERE / "server.py")],
}

call = lambda name, /, **args: {"call": name, "args": args}
AWKWARD = {"message": "é \u2028 \U0001f511 \\ \" \u0000 secret://key", "n": 12345678901234567890123, "f": 0.1}
STEPS = {
    "everything": [
        {"list": "tools"}, {"list": "resources"}, {"list": "templates"}, {"list": "prompts"}, {"ping": True},
        call("echo", message=AWKWARD["message"]), call("get-sum", a=0.1, b=0.2),
        call("get-structured-content", location="Chicago"), call("get-tiny-image"),
        call("get-annotated-message", messageType="error", includeImage=True),
        call("get-resource-links", count=5), call("nosuch"), call("get-sum", a="no number"),
        call("trigger-long-running-operation", duration=0.4, steps=4),
        {"cancel": call("trigger-long-running-operation", duration=2, steps=2)},
        {"prompt": "simple-prompt"}, {"prompt": "args-prompt", "args": {"city": "Oslo", "state": "x"}},
        {"prompt": "nosuch"}, {"read": "demo://nosuch"},
        {"together": [call("echo", message=f"{n}" * 1000) for n in range(64)]},
    ],
    "filesystem": [
        {"list": "tools"}, call("list_directory", path=str(FILES)), call("read_text_file", path=str(FILES / "big.txt")),
        call("read_text_file", path="/etc/nosuch"), call("read_media_file", path=str(FILES / "dot.png")),
        call("write_file", path=str(FILES / "new.txt"), content=AWKWARD["message"]),
        call("read_text_file", path=str(FILES / "new.txt")), call("directory_tree", path=str(FILES)),
        {"together": [call("read_text_file", path=str(FILES / "big.txt"), head=n) for n in range(1, 33)]},
    ],
    "fastmcp": [
        {"list": "tools"}, {"list": "resources"}, {"list": "prompts"},
        call("create_issue", title=AWKWARD["message"], api_key="supplied-key"), call("fail", api_key="supplied-key"),
        call("resource", api_key="supplied-key"), call("talk", api_key="supplied-key"),
        call("consult", api_key="supplied-key"), call("big", length=3_000_000),
        call("send", body="no secret://key"), {"read": "memo://environment"}, {"prompt": "ask"}, call("nosuch"),
        {"cancel": call("slow", number=1, seconds=2)},
        {"together": [call("slow", number=n, seconds=(n * 7 % 5) / 50) for n in range(64)]},
    ],
}

checks = 0


def check(what, holds, detail=""):
    global checks
    checks += 1
    if not holds:
        sys.exit(f"FAILED: {what}\n{str(detail)[:4000]}")


def keyward(*args, value=None):
    result = subprocess.run([KEYWARD, *args], input=value, capture_output=True, text=True)
    check(f"keyward {args}", result.returncode == 0, result.stderr)
    return result.stdout


def proxy(*args, server):
    return [KEYWARD, "mcp", "--server", "srv", *args, "--", *server]


def session(name, client, steps, command):
    """What the client saw, and every byte on its side and on the server's."""
    folder = RUN / name
    folder.mkdir(parents=True)
    (folder / "steps.json").write_text(json.dumps(steps))
    tap = [PYTHON, str(HERE / "tap.py"), str(folder / "client")]
    result = subprocess.run(
        [*CLIENTS[client], str(folder / "steps.json"), str(folder / "out.json"), *tap, *command],
        capture_output=True, text=True, timeout=120,
    )
    check(f"{name}: the client is done", result.returncode == 0, result.stderr)
    return json.loads((folder / "out.json").read_text()), folder, result.stderr


def server_tap(name, server):
    return [PYTHON, str(HERE / "tap.py"), str(RUN / name / "server"), *server]


def lines(folder, file):
    """Whole messages; notifications and answers of requests that overlap come in any order."""
    wire = (folder / file).read_bytes()
    # What a clock or a random generator makes is not the same twice.
    wire = re.sub(rb'"(sessionId|taskId)":"[^"]*"', b"", wire)
    wire = re.sub(rb"\d\d?:\d\d:\d\d( [AP]M)?", b"", wire)
    return sorted(wire.splitlines(keepends=True))


def reset_files():
    shutil.rmtree(FILES, ignore_errors=True)
    FILES.mkdir(parents=True)
    (FILES / "big.txt").write_text("".join(f"line {n} é\n" for n in range(40_000)))
    (FILES / "dot.png").write_bytes(bytes(range(256)) * 40)


def same_with_and_without(client, server):
    seen = {}
    for way in ("direct", "proxied"):
        reset_files()
        name = f"same-{client}-{server}-{way}"
        command = server_tap(name, SERVERS[server])
        if way == "proxied":
            # There are secrets to look for and to put in, but nothing that holds one and no tool that declares one.
            command = [KEYWARD, "mcp", "--server", "other", "--env", "UNUSED=secret://token", "--", *command]
        seen[way] = session(name, client, STEPS[server], command)
    for file in ("server.in", "client.out"):
        direct, proxied = (lines(seen[way][1], file) for way in seen)
        difference = next(((a, b) for a, b in zip(direct, proxied) if a != b), (len(direct), len(proxied)))
        check(f"{client} and {server}: {file} is the same", direct == proxied, difference)
    size = (seen["proxied"][1] / "client.out").stat().st_size
    return len(lines(seen["proxied"][1], "client.out")), size


def forms(secret):
    raw = secret.encode()
    yield from (raw, json.dumps(secret)[1:-1].encode(), raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")[:-2])
    yield urllib.parse.quote(secret, safe="").encode()


def proof(text):
    return hashlib.sha256(text.encode()).hexdigest()


def secrets_go_in_and_do_not_come_back(client):
    name = f"bound-{client}"
    steps = [
        {"list": "tools"}, call("create_issue", title="x"), call("create_issue", title="x", api_key="attackers-own"),
        call("fetch", url="u"), call("encode"), call("fail"), call("resource"), call("talk"),
        call("send", body="secret://key"), call("send", body="secret://nosuch"), call("send", body="a secret://key"),
        call("environment", name="TOKEN"), call("environment", name="KEYWARD_KEY_FILE"), {"read": "memo://environment"},
        {"prompt": "ask"}, call("consult"),
        {"together": [call("create_issue", title=f"{n}") for n in range(64)]},
    ]
    command = proxy("--env", "TOKEN=secret://token", server=server_tap(name, SERVERS["fastmcp"]))
    out, folder, errors = session(name, client, steps, command)
    wire = (folder / "client.out").read_bytes() + errors.encode() + (folder / "out.json").read_bytes()
    for secret in (KEY, TOKEN):
        for form in forms(secret):
            check(f"{client}: nothing the client sees holds a value", form not in wire, form)
    check(f"{client}: standard error is redacted", "stderr: secret://key" in errors, errors)
    answers = out["transcript"][-len(steps):]
    tools = {tool["name"]: tool["inputSchema"] for tool in answers[0]["tools"]}
    for tool in ("create_issue", "encode", "fail", "resource", "talk", "consult"):
        check(f"{client}: {tool} does not show its key", "api_key" not in json.dumps(tools[tool]), tools[tool])
    check(f"{client}: fetch does not show its header", "Authorization" not in json.dumps(tools["fetch"]), tools["fetch"])
    check(f"{client}: what is not bound is shown", "title" in tools["create_issue"]["properties"])
    texts = [json.dumps(answer, ensure_ascii=False) for answer in answers]
    for index in (1, 2):
        issue = json.loads(answers[index]["content"][0]["text"])
        check(f"{client}: the server has the key", issue["proof"] == proof(KEY), issue)
        check(f"{client}: its echo is the reference", issue["echo"] == "secret://key", issue)
        check(f"{client}: as a key, too", "secret://key" in issue and answers[index]["structuredContent"] == issue, issue)
    check(f"{client}: the header is made", proof(f"Bearer {KEY}") in texts[3], texts[3])
    check(f"{client}: every encoding is found", texts[4].count("secret://key") >= 4, texts[4])
    check(f"{client}: an error is redacted", answers[5]["isError"] and "secret://key" in texts[5], texts[5])
    check(f"{client}: a resource is redacted", "key=secret://key" in texts[6], texts[6])
    notes = json.dumps(out["notes"])
    check(f"{client}: progress is redacted", "trying secret://key" in notes, notes)
    check(f"{client}: logs are redacted", "using secret://key" in notes, notes)
    check(f"{client}: a reference that is not granted is denied", answers[8]["isError"], texts[8])
    check(f"{client}: in the same words without such a secret", texts[8] == texts[9], texts[9])
    check(f"{client}: text that holds a reference is text", "sent a secret://key" in texts[10], texts[10])
    check(f"{client}: the environment has the token", f"{proof(TOKEN)} secret://token" in texts[11], texts[11])
    check(f"{client}: and not the vault's key", "None" in texts[12], texts[12])
    check(f"{client}: a resource with it is redacted", "TOKEN=secret://token" in texts[13], texts[13])
    check(f"{client}: a prompt, too", "Use secret://token." in texts[14], texts[14])
    check(f"{client}: the server asks, and is answered", "perhaps, decline" in texts[15], texts[15])
    for asked in ("Is secret://key a key?", "You hold secret://key.", "Use secret://key?", "of secret://key"):
        check(f"{client}: what the server asks is redacted: {asked}", asked in notes, notes)
    for number, answer in enumerate(answers[16]):
        issue = json.loads(answer["content"][0]["text"])
        check(f"{client}: 64 calls at once", (issue["title"], issue["proof"]) == (str(number), proof(KEY)), issue)
    sent = (folder / "server.in").read_bytes()
    check(f"{client}: denied calls do not reach the server", b'"body":"secret://' not in sent.replace(b": ", b":"))


def supplied_values(client):
    """What becomes of a value that the model supplies where one is filled in."""
    mine = "attackers-own"
    for policy, expected in ("keep", mine), ("replace", KEY), ("refuse", None):
        name = f"supplied-{policy}-{client}"
        steps = [{"list": "tools"}, call("create_issue", title="x", api_key=mine), call("create_issue", title="x")]
        command = proxy("--supplied", policy, server=server_tap(name, SERVERS["fastmcp"]))
        out, folder, _ = session(name, client, steps, command)
        supplied, left_out = out["transcript"][-2:]
        proofs = [json.loads(answer["content"][0]["text"])["proof"] for answer in (supplied, left_out) if not answer.get("isError")]
        check(f"{client}, {policy}: what the server got", proofs == [proof(key) for key in (expected, KEY) if key], proofs)
        check(f"{client}, {policy}: a refusal is an error", supplied.get("isError", False) == (expected is None), supplied)
        sent = (folder / "server.in").read_text()
        check(f"{client}, {policy}: the model's value reaches the server or not", (mine in sent) == (expected == mine), sent)


class Wire:
    """A client of a few lines, for what a real one does not let one do."""

    def __init__(self, command, **options):
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, **options)
        info = {"name": "wire", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        self.ask("initialize", hello)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.ask("tools/list", {})

    def send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        while line := self.process.stdout.readline():
            if (answer := json.loads(line)).get("id") == 1:
                return answer["result"]
        raise EOFError

    def call(self, tool, **args):
        return self.ask("tools/call", {"name": tool, "arguments": args})["content"][0]["text"]


def is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(what, holds):
    deadline = time.monotonic() + 20
    while not holds():
        check(what, time.monotonic() < deadline)
        time.sleep(0.01)


def either_end_ends_the_other():
    start = lambda: Wire(proxy(server=SERVERS["fastmcp"]))
    wire = start()
    server = int(wire.call("pid"))
    wire.process.stdin.close()
    check("the client closes its end: the proxy ends well", wire.process.wait(20) == 0)
    wait_until("the client closes its end: the server ends", lambda: is_gone(server))

    wire = start()
    server = int(wire.call("pid"))
    wire.process.kill()
    wait_until("the proxy is killed: the server ends", lambda: is_gone(server))

    wire = start()
    server = int(wire.call("pid"))
    wire.process.terminate()
    wire.process.wait(20)
    wait_until("the proxy is told to end: the server ends", lambda: is_gone(server))

    wire = start()
    os.kill(int(wire.call("pid")), signal.SIGKILL)
    check("the server is killed: the client sees the end", wire.process.stdout.read() == b"")
    check("the server is killed: the proxy ends as it did", wire.process.wait(20) == 128 + signal.SIGKILL)

    stubborn = [PYTHON, "-c", "import signal, os, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
                "print(os.getpid(), flush=True); time.sleep(1000)"]
    process = subprocess.Popen(proxy(server=stubborn), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    server = int(process.stdout.readline())
    process.terminate()
    process.wait(20)
    wait_until("a server that does not want to end is ended", lambda: is_gone(server))


def many_share_a_vault():
    wires = [Wire(proxy(server=SERVERS["fastmcp"])) for _ in range(4)]
    add = lambda n: keyward("add", f"extra-{n}", "--tool", "nothing", value=f"value-{n}\n")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        added = [pool.submit(add, n) for n in range(12)]
        for round in range(10):
            for wire in wires:
                check("a proxy works while others write", proof(KEY) in wire.call("create_issue", title="x"))
        for future in added:
            future.result()
    check("every write is there", len(json.loads(keyward("list", "--json"))) == 4 + 12)
    keyward("update", "key", "--value", value="another-value-7Qz\n")
    for wire in wires:
        answer = wire.call("create_issue", title="x")
        check("a proxy sees what was written", proof("another-value-7Qz") in answer and "another-value" not in answer, answer)
    keyward("update", "key", "--value", value=KEY)
    keyward("rotate", "data")
    for wire in wires:
        check("and works after a rotation", proof(KEY) in wire.call("create_issue", title="x"))
    keyward("rotate", "master")
    for wire in wires:
        check("and follows a new master key", proof(KEY) in wire.call("create_issue", title="x"))
    key, kept = RUN / "key", RUN / "kept-key"
    kept.write_bytes(key.read_bytes())
    key.write_text("00" * 32)
    keyward("rotate", "master", "--key-file", str(kept))
    for wire in wires:
        check("but not one that its key does not open", "not called" in wire.call("create_issue", title="x"))
        wire.process.stdin.close()
        wire.process.wait(20)
    key.write_bytes(kept.read_bytes())


shutil.rmtree(RUN, ignore_errors=True)
RUN.mkdir()
os.environ |= {"KEYWARD_VAULT": str(RUN / "vault.keyward"), "KEYWARD_KEY_FILE": str(RUN / "key")}
keyward("init")
keyward("add", "key", "--tool", "srv__*", "--arg", "api_key", "--default", value=KEY)
keyward("add", "header", "--tool", "srv__fetch", "--arg", "/headers/Authorization", "--default", "--format", "Bearer {}", value=KEY)
keyward("add", "token", value=TOKEN)
keyward("add", "undeclared", "--tool", "other__*", "--arg", "undeclared", "--default", value="undeclared-4QvT9sLm")

for client in CLIENTS:
    for server in SERVERS:
        messages, size = same_with_and_without(client, server)
        print(f"{client:<11}{server:<12}the same with and without the proxy: {messages} messages, {size} bytes from the server")
    secrets_go_in_and_do_not_come_back(client)
    print(f"{client:<11}{'fastmcp':<12}secrets go in, and nothing of them comes back")
    supplied_values(client)
    print(f"{client:<11}{'fastmcp':<12}a value that the model supplies is kept, replaced or refused")
either_end_ends_the_other()
print("either end ends the other")
many_share_a_vault()
print("four proxies and the command line share a vault")
print(f"{checks} checks")
