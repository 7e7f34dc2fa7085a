"""The running example, and a client for it."""

import contextlib
import http.client
import json
import os
import pathlib
import subprocess

EXAMPLE = os.environ["KEYWARD_HTTP_SERVER"]
PASSPHRASE = "correct horse battery staple"


def user(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def token(n):
    return f"sk-user-{n}"


def environment(users):
    tokens = ",".join(f"{token(n)}={user(n)}" for n in range(users))
    return {**os.environ, "KEYWARD_PASSPHRASE": PASSPHRASE, "KEYWARD_TOKENS": tokens}


class Server:
    """The example over a vault, on a free port."""

    def __init__(self, vault, users=1):
        self.process = subprocess.Popen(
            [EXAMPLE, vault, "0"], env=environment(users), stdout=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise SystemExit(f"the server did not start: {self.process.wait()}")
        self.port = int(self.url.rsplit(":", 1)[1])

    def kill(self):
        """SIGKILL: nothing is tidied up."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def running(vault, users=1):
    server = Server(str(vault), users)
    try:
        yield server
    finally:
        server.kill()


def check(vault, users=1):
    """Verifies all that is stored; what each user has, as (secrets, bytes)."""
    done = subprocess.run(
        [EXAMPLE, str(vault), "check"], env=environment(users), check=True, capture_output=True, text=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: (int(secrets), int(size)) for name, secrets, size in lines}


class Client:
    """One connection, kept open."""

    def __init__(self, port, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = headers or {}

    def send(self, method, path, body=None, headers=None):
        """The status and the JSON of the answer (None if it has no body)."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        sent = {**self.headers, **(headers if headers is not None else {"content-type": "application/json"})}
        self.connection.request(method, path, body=body, headers=sent)
        response = self.connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None


def fresh_vault(directory, name):
    path = pathlib.Path(directory) / name
    path.unlink(missing_ok=True)
    return path
