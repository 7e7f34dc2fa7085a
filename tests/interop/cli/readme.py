"""Follows the README's MCP section in a new home, at a pseudo-terminal: readme.py KEYWARD [PACKAGES]

The line that installs the program is left out: it is KEYWARD. The servers of the configurations before and after are started
as a client starts them, with the words that are written there. PACKAGES is a folder in which `npx` finds the packages; without
it, a server that says its key stands in for the one that npx would run, and only the configuration after is tried.
"""

import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

KEYWARD = Path(sys.argv[1]).resolve()
README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
SECTION = README.partition("## Use it with your MCP client")[2]
VALUES = {"api-token": "ghp_hV5cX2mQ9rT4", "linear": "lin_api_Zq8wT3vN"}


def check(what, holds, detail=""):
    if not holds:
        sys.exit(f"FAILED: {what}\n{detail}")


def type_in(script, environment):
    """What the terminal shows when the values are typed in, one at each prompt."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve("/bin/sh", ["sh", "-ec", script], environment)
    shown = ""
    values = iter(VALUES.values())
    while True:
        check("the terminal shows something in time", select.select([terminal], [], [], 60)[0], shown)
        try:
            chunk = os.read(terminal, 1)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk.decode(errors="replace")
        if shown.endswith("Value: "):
            os.write(terminal, f"{next(values)}\n".encode())
    check("the block ends well", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown)
    check("every value was asked for", next(values, None) is None, shown)
    return shown


def session(server, environment, folder):
    """Starts a server with these words, and asks it for its environment, as far as it tells."""
    process = subprocess.Popen(
        [server["command"], *server["args"]], cwd=folder, env=environment | server["env"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )

    def ask(number, method, params):
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        print(json.dumps(request), file=process.stdin, flush=True)
        for line in process.stdout:
            if (answer := json.loads(line)).get("id") == number:
                return answer["result"]
        sys.exit(f"FAILED: the server ended before answering {method}")

    client = {"name": "readme", "version": "1"}
    ask(1, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
    print('{"jsonrpc":"2.0","method":"notifications/initialized"}', file=process.stdin, flush=True)
    said = ask(2, "tools/call", {"name": "get-env", "arguments": {}})["content"][0]["text"]
    process.stdin.close()
    check("the server ends well", process.wait(60) == 0)
    return json.loads(said)


install, *lines = re.search(r"```sh\n(.*?)```", SECTION, re.DOTALL)[1].splitlines()
check("the first line installs", install.startswith("cargo install "), install)
before, after = (json.loads(text)["mcpServers"]["everything"] for text in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL))
with tempfile.TemporaryDirectory() as home:
    environment = {"HOME": home, "PATH": f"{KEYWARD.parent}:{os.environ['PATH']}", "TERM": "xterm"}
    shown = type_in("\n".join(lines), environment)
    for name, value in VALUES.items():
        check(f"{name} is listed", re.search(rf"^{name} .*\*{{8}}", shown, re.MULTILINE), shown)
        check(f"the value of {name} is not shown", value not in shown, shown)
    key = Path(home, ".config/keyward/key")
    check("the key file is its owner's alone", stat.S_IMODE(key.stat().st_mode) == 0o600)

    check("the configuration before has the key", VALUES["api-token"] in before["env"].values(), before)
    check("the configuration after has none", all(value not in json.dumps(after) for value in VALUES.values()), after)
    own, server = (after["args"][:(at := after["args"].index("--"))], after["args"][at + 1:])
    check("the server is the same", server == [before["command"], *before["args"]], server)
    after["env"] = {name: value.replace("/home/you", home) for name, value in after["env"].items()}
    if len(sys.argv) > 2:
        for name, configuration, expected in ("before", before, VALUES["api-token"]), ("after", after, "secret://api-token"):
            said = session(configuration, environment, sys.argv[2])
            check(f"{name}: what the client sees of the key", said["API_TOKEN"] == expected, said)
            check(f"{name}: the server does not get the vault's key", "KEYWARD_KEY_FILE" not in said, said)
        print("README: the configurations before and after, with npx, in a new home")
        sys.exit()
    says = 'read -r line; printf "%s\\n" "${API_TOKEN%????}" "$API_TOKEN"'
    result = subprocess.run(
        [after["command"], *own, "--", "sh", "-c", says],
        env=environment | after["env"], input="{}\n", capture_output=True, text=True, timeout=60,
    )
    check("the proxy ends well", result.returncode == 0, result.stderr)
    cut = VALUES["api-token"][:-4]
    check("the server has the key, and the client its reference", result.stdout == f"{cut}\nsecret://api-token\n", result.stdout)
print("README: the MCP section in a new home")
