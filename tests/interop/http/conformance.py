"""schemathesis against the running example: with the contract, and with the document that the router serves."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

from server import fresh_vault, running, token

HERE = pathlib.Path(__file__).resolve().parent
CONTRACT = HERE.parent.parent / "data" / "secrets.openapi.json"
PHASES = ["examples,coverage", "fuzzing", "stateful"]


def run(document, server, phases, args, unique, headers):
    command = [
        str(pathlib.Path(sys.executable).with_name("st")), "--config-file", str(HERE / "schemathesis.toml"),
        "run", document, "--url", server.url, "--phases", phases, "--checks", "all", "--mode", "all",
        "--continue-on-failure", "--max-examples", str(args.examples), "--seed", str(args.seed),
    ]
    for header in headers:
        command += ["--header", header]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "KEYWARD_UNIQUE": "1" if unique else "0"}
    return subprocess.run(command, env=environment, cwd=server.directory, check=False).returncode


def contract_with_list(server):
    """The contract as it is, and beside its operations the list, which is not in it: to be no undeclared method."""
    with urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
        served = json.load(answer)
    contract = json.loads(CONTRACT.read_text())
    assert "get" not in contract["paths"]["/api/v1/secrets/"]
    contract["paths"]["/api/v1/secrets/"]["get"] = served["paths"]["/api/v1/secrets/"]["get"]
    for name in ("SecretPage", "HTTPError"):
        contract["components"]["schemas"][name] = served["components"]["schemas"][name]
    path = pathlib.Path(server.directory) / "contract.json"
    path.write_text(json.dumps(contract))
    return str(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    args = parser.parse_args()
    failures = 0
    for name in ["contract", "served document"]:
        for phases in PHASES:
            # Its own vault each: a full one would refuse what is valid.
            with tempfile.TemporaryDirectory() as directory, running(fresh_vault(directory, "st.keyward")) as server:
                server.directory = directory
                print(f"\n-- schemathesis, {name}: {phases}", flush=True)
                if name == "contract":
                    # It declares no security, so that every header is given: a generated one would name nobody.
                    headers = [f"token: {token(0)}", f"Authorization: Bearer {token(0)}", f"x-api-key: {token(0)}"]
                    failures += run(contract_with_list(server), server, phases, args, True, headers) != 0
                else:
                    headers = [f"x-api-key: {token(0)}"]
                    failures += run(f"{server.url}/openapi.json", server, phases, args, False, headers) != 0
    print(f"\nschemathesis: {2 * len(PHASES)} runs, {failures} with failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
