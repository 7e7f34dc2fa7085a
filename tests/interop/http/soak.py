"""Many clients at once over a vault on disk, and a server that is killed in the middle of it.

Every client knows what the server acknowledged. When the server is killed, one request of each client is under way: it may
be done or not, as a whole. Everything else must be there when the vault is opened again, and usage must be exact.
"""

import argparse
import collections
import http.client
import random
import sys
import tempfile
import threading
import time

from server import Client, Server, check, fresh_vault, token, user

SECRETS = "/api/v1/secrets/"
CLIENTS = 32
USERS = 8
# What the contract names; 404 and 422 are asked for on purpose.
NAMED = {200, 404, 413, 422}


class Secret:
    """What was sent of a secret: enough to tell its versions apart, and to know its size."""

    def __init__(self, name, value, tool, arg):
        self.name, self.value, self.tool, self.arg = name, value, tool, arg

    def body(self):
        return {"secret_name": self.name, "secret_value": self.value, "tool_name": self.tool, "tool_arg": self.arg}

    def size(self):
        return sum(len((text or "").encode()) for text in (self.name, self.value, self.tool, self.arg))

    def is_shown_as(self, info):
        return (self.name, self.tool, self.arg) == (info["secret_name"], info["tool_name"], info["tool_arg"])


class Worker(threading.Thread):
    def __init__(self, number, seed):
        super().__init__()
        self.number, self.user = number, number % USERS
        self.rng = random.Random(f"{seed} {number}")
        self.secrets = {}  # what is acknowledged, by id
        self.under_way = None  # (id or None, what it becomes or None)
        self.versions = 0
        self.statuses = collections.Counter()
        self.cut_off = 0
        self.wrong = []

    def begin(self, port, stop):
        self.client = Client(port, {self.rng.choice(["token", "x-api-key", "authorization"]): token(self.user)})
        self.stop = stop

    def new_secret(self):
        """No two have the same name, so that a listing tells which of them is there."""
        self.versions += 1
        rng, text = self.rng, "aé😀/ \"\\"
        value = "".join(rng.choice(text) for _ in range(rng.randint(4, 200)))
        tool = rng.choice([None, "tool", "agno__*", "é*"])
        return Secret(f"client {self.number} version {self.versions}", value, tool, rng.choice([None, "key", "/a/b"]))

    def send(self, method, path, body=None, expected=200):
        status, answer = self.client.send(method, path, body)
        self.statuses[status] += 1
        if status != expected or status not in NAMED:
            self.wrong.append((method, path, status, expected, answer))
        return answer

    def act(self):
        rng = self.rng
        choice = rng.random()
        identifier = rng.choice(list(self.secrets)) if self.secrets else None
        # Below the quota of 1,000 secrets of a user, whom four clients share.
        if identifier is None or (choice < 0.35 and len(self.secrets) < 60):
            new = self.new_secret()
            self.under_way = None, new
            info = self.send("POST", SECRETS, new.body())
            self.secrets[info["secret_id"]] = new
        elif choice < 0.6:
            new = self.new_secret()
            self.under_way = identifier, new
            info = self.send("PATCH", SECRETS + identifier, new.body())
            self.secrets[identifier] = new
            if not new.is_shown_as(info):
                self.wrong.append(("PATCH", identifier, info))
        elif choice < 0.75:
            self.under_way = identifier, None
            self.send("DELETE", SECRETS + identifier)
            del self.secrets[identifier]
            self.under_way = None
            self.send("GET", SECRETS + identifier, expected=404)
        elif choice < 0.9:
            info = self.send("GET", SECRETS + identifier)
            if not self.secrets[identifier].is_shown_as(info):
                self.wrong.append(("GET", identifier, info))
        elif choice < 0.95:
            self.send("PATCH", SECRETS + identifier, {"secret_value": "abc", "tool_arg": 1}, expected=422)
        else:
            shown = {info["secret_id"] for info in listing(self.send, limit=100)}
            if not shown >= self.secrets.keys():
                self.wrong.append(("list", "a secret is not in the pages"))
        self.under_way = None

    def run(self):
        try:
            while not self.stop.is_set():
                self.act()
        except (OSError, http.client.HTTPException):
            self.cut_off += 1
            if not self.stop.is_set():
                self.wrong.append(("the connection broke while the server was there", self.under_way))

    def settle(self, shown):
        """Compares with what is there after the server was killed, all of this user's; takes out what is this client's."""
        identifier, new = self.under_way or (None, None)
        if identifier is not None:
            # An update or a delete: the version before it or the one after.
            info, old = shown.get(identifier), self.secrets[identifier]
            if new is None and info is None:
                del self.secrets[identifier]
            elif new is not None and info is not None and new.is_shown_as(info):
                self.secrets[identifier] = new
            elif info is None or not old.is_shown_as(info):
                self.wrong.append(("neither before nor after", identifier, info))
        elif new is not None:
            found = [each for each, info in shown.items() if new.is_shown_as(info)]
            for each in found[:1]:
                self.secrets[each] = new
        self.under_way = None
        for each, secret in self.secrets.items():
            info = shown.pop(each, None)
            if info is None or not secret.is_shown_as(info):
                self.wrong.append(("acknowledged and lost", each, info))


def listing(send, limit=1000):
    """All pages."""
    secrets, query = [], f"?limit={limit}"
    while True:
        page = send("GET", SECRETS + query)["data"]
        secrets += page
        if len(page) < limit:
            return secrets
        query = f"?limit={limit}&after={page[-1]['secret_id']}"


def pages_of(server, number):
    client = Client(server.port, {"token": token(number)})
    return {info["secret_id"]: info for info in listing(lambda method, path: client.send(method, path)[1])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=6)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        vault = fresh_vault(directory, "soak.keyward")
        workers = [Worker(number, args.seed) for number in range(CLIENTS)]
        for kill in range(args.kills):
            server, stop = Server(str(vault), USERS), threading.Event()
            try:
                workers = [successor(worker) for worker in workers]
                for worker in workers:
                    worker.begin(server.port, stop)
                    worker.start()
                # The soak is as long as it is asked to be; nothing is judged by the clock.
                time.sleep(args.seconds / args.kills)
            finally:
                stop.set()
                server.kill()
            for worker in workers:
                worker.join()
            settle(vault, workers)
        report(vault, workers, args)


def successor(worker):
    """A thread runs once: another one goes on with what this one knows."""
    if worker.ident is None:
        return worker
    successor = Worker(worker.number, worker.rng.random())
    for name in ("secrets", "versions", "statuses", "cut_off", "wrong"):
        setattr(successor, name, getattr(worker, name))
    return successor


def settle(vault, workers):
    server = Server(str(vault), USERS)
    try:
        for number in range(USERS):
            shown = pages_of(server, number)
            for worker in workers:
                if worker.user == number:
                    worker.settle(shown)
            if shown:
                workers[number].wrong.append(("there, and nobody's", list(shown.values())[:3]))
    finally:
        server.kill()


def report(vault, workers, args):
    statuses = sum((worker.statuses for worker in workers), collections.Counter())
    wrong = [each for worker in workers for each in worker.wrong]
    expected = {}
    for number in range(USERS):
        secrets = [each for worker in workers if worker.user == number for each in worker.secrets.values()]
        if secrets:
            expected[user(number)] = len(secrets), sum(secret.size() for secret in secrets)
    usage = check(vault, USERS)
    for each in wrong[:10]:
        print("wrong:", each)
    if usage != expected:
        print(f"usage: {usage}\nexpected: {expected}")
    cut_off = sum(worker.cut_off for worker in workers)
    named = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    secrets, size = (sum(each[i] for each in usage.values()) for i in (0, 1))
    print(
        f"soak: {CLIENTS} clients, {args.seconds:g} s, {args.kills} kills that cut {cut_off} requests off, {statuses.total()} answers ({named}), "
        f"{len(wrong)} wrong; at the end {secrets} secrets of {size} bytes, usage {'exact' if usage == expected else 'WRONG'}"
    )
    sys.exit(bool(wrong) or usage != expected)


if __name__ == "__main__":
    main()
