"""The same requests to keyward's router and to the reference: same status, and for a 422 same loc, type and msg."""

import argparse
import collections
import json
import random
import re
import socket
import sys
import tempfile
import threading

import uvicorn

import reference
from server import Client, fresh_vault, running, token

SECRETS = "/api/v1/secrets/"
JSON = {"content-type": "application/json"}
UNKNOWN = "0192f000-0000-7000-8000-000000000001"
FIELDS = ["secret_name", "secret_value", "tool_name", "tool_arg", "is_default_for_tool", "format"]
STRINGS = [
    "", "a", "abc", "abcd", "é" * 3, "é" * 4, "x" * 1024, "x" * 1025, "é" * 1024, "é" * 1025, "😀" * 4, "\0\0\0\0",
    "tool_*", "/a/b", "/a~b", "/a~0b~1c", "-", "/items/-", "/", "//", "a/-", "~", "Bearer {}", "{}", "{}{}", "true",
    " a b ", "\n\t\"\\/", "\ud800", "\udc00x", "null",
]
OTHERS = [None, True, False, 0, 1, -1, 1.5, 1e300, 10**30, [], ["abcd"], {}, {"a": "b"}, [[[]]]]


def generated_value(rng):
    return rng.choice(STRINGS) if rng.random() < 0.7 else rng.choice(OTHERS)


def generated_object(rng, patch):
    body = {} if patch and rng.random() < 0.8 else {"secret_name": "n", "secret_value": "abcd"}
    for field in FIELDS:
        if rng.random() < (0.3 if patch else 0.35):
            body[field] = generated_value(rng)
    if rng.random() < 0.15:
        body["is_default_for_tool"] = True
    if rng.random() < 0.1:
        body.pop(rng.choice(FIELDS), None)
    if rng.random() < 0.1:
        body[rng.choice(["other", "secret_valuE", "", "\ud800"])] = generated_value(rng)
    return body


def generated_text(rng, patch):
    """JSON text, in some spelling."""
    body = generated_object(rng, patch)
    text = json.dumps(
        body,
        ensure_ascii=rng.random() < 0.5 or "\\ud" in json.dumps(body),
        indent=rng.choice([None, None, 1]),
        separators=rng.choice([None, (",", ":"), (" ,\t", "\r\n:")]),
    )
    if rng.random() < 0.05:
        text = text[:-1] + ', "secret_name": 7, "secret_name": "twice"}'
    if rng.random() < 0.05:
        text = "[" + text + "]"
    return text


def spoiled(rng, text):
    """The text with some characters taken out, put in, or cut off."""
    characters = '{}[]",:\\ \n\tu0-1.eEtrufalsn\x01é/x'
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text) + 1)
        kind = rng.random()
        if kind < 0.3:
            text = text[:at]
        elif kind < 0.6:
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + rng.choice(characters) + text[at:]
    return text


FIXED = [
    b"", b" ", b"null", b"true", b"1", b'"abcd"', b"[]", b"{}", b"{", b"}", b"[", b'"', b"{} {}", b"[1,", b"-", b"01", b"1.",
    b"1e", b'{"a"', b'{"a":', b'{"a":}', b'{"a" 1}', b'{"a":1 "b":2}', b'{"a":1,', b'{"a":"\\x"}', b'{"a":"\\u12"}',
    b'{"a":"\\ud83d\\u00"}', b'{"a":"\\u123', b'{"a":"b\nc"}', b'{"a":"', b'{"a\\', b"nul", b"truefalse", b"hunter2",
    b'\xff', b'{"secret_name": "\xff", "secret_value": "abcd"}', b'{"secret_name": "n", "secret_value": "abcd"}\xc3',
    b'{"x": ' + b"[" * 200 + b"]" * 200 + b', "secret_name": "n", "secret_value": "abcd"}',
    b'{"secret_name": "n", "secret_value": "abcd", "x": 1e999}',
    b'{"secret\\u005fname": "n", "secret_value": "abcd"}',
    b'{"secret_name": "\\ud83d\\ude00", "secret_value": "\\ud83d\\ude00abc"}',
]
CONTENT_TYPES = [
    "application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json", "text/plain",
    "text/json", "application/jsonx", "application/x-www-form-urlencoded", "json", "", "application/json, text/plain",
    "application/json;", " application/json", "application/ json", "application/json/x", "multipart/form-data",
]
IDS = [
    "x", "%20", "%FF", "%C3%A9", "%00", UNKNOWN[:-1], UNKNOWN + "1", UNKNOWN + "-", UNKNOWN.replace("-", "_"),
    UNKNOWN.replace("-", "", 1), "g" + UNKNOWN[1:], "null", "1", "urn:uuid:x", "%7B" + UNKNOWN, "0" * 31,
]
QUERIES = [
    "", "limit=1", "limit=1000", "limit=0", "limit=-1", "limit=1001", "limit=abc", "limit=", "limit=5.5", "limit=%35", "limit",
    "limit=+5", "limit=1&limit=x", "limit=x&limit=1", "limit=99999999999999999999999", f"after={UNKNOWN}", "after=x", "after=",
    "after=" + UNKNOWN.upper(), f"after=%7B{UNKNOWN}%7D", "limit=x&after=y", "other=1", "limit=%zz", "&&=&limit=2", "limit=nan",
]


def python_alone_reads(text):
    """JSON that is none by RFC 8259, and bytes that are no UTF-8 by RFC 3629."""
    return re.search(rb"NaN|Infinity", text) or re.search(rb"\xed[\xa0-\xbf]", text)


def newer_python_counts_otherwise(text):
    """From 3.13 on, Python finds a trailing comma at its own place."""
    return sys.version_info >= (3, 13) and re.search(rb",\s*[}\]]", text)


def not_text_at(text):
    """Where bytes stop being UTF-8; None if they do not."""
    try:
        text.decode()
        return None
    except UnicodeDecodeError as error:
        return error.start


def requests(bodies, seed):
    """(method, path, body, headers); `{id}` in a path stands for a secret that is bound and a default."""
    rng = random.Random(seed)
    for method, path in [("POST", SECRETS), ("PATCH", SECRETS + "{id}")]:
        for text in FIXED:
            yield method, path, text, JSON
        for content_type in CONTENT_TYPES:
            for text in [b"", b'{"secret_name": "n", "secret_value": "abcd"}', b"{"]:
                yield method, path, text, {"content-type": content_type}
        yield method, path, b"{}", {}
    for n in range(bodies):
        patch = rng.random() < 0.4
        text = generated_text(rng, patch)
        if rng.random() < 0.35:
            text = spoiled(rng, text)
        body = text.encode("utf-8", "surrogatepass")
        if patch:
            identifier = rng.choice(IDS) if rng.random() < 0.1 else "{id}"
            yield "PATCH", SECRETS + identifier, body, JSON
        else:
            yield "POST", SECRETS, body, JSON
    for identifier in IDS:
        for method in ["GET", "DELETE"]:
            yield method, SECRETS + identifier, None, {}
        for text in [b"", b"{}", b"{", b"[]", b'{"tool_name": 1}', b"\xff"]:
            yield "PATCH", SECRETS + identifier, text, JSON
    for query in QUERIES:
        yield "GET", f"{SECRETS}?{query}", None, {}
    for path in ["/api/v1/secrets", SECRETS + UNKNOWN + "/", SECRETS + "/"]:
        for method in ["GET", "POST", "DELETE"]:
            yield method, path, b"{}", JSON
    for path in [SECRETS, SECRETS + UNKNOWN]:
        for method in ["HEAD", "OPTIONS", "PUT", "TRACE"]:
            yield method, path, None, {}
    yield "POST", SECRETS + UNKNOWN, b"{}", JSON
    yield "PATCH", SECRETS, b"{}", JSON
    yield "DELETE", SECRETS, None, {}


class Keyward:
    """The router over a vault that has what the reference assumes."""

    BOUND = {
        "secret_name": "bound", "secret_value": "abcd", "tool_name": "t", "tool_arg": "a", "is_default_for_tool": True,
    }

    def __init__(self, port):
        self.client = Client(port, {"x-api-key": token(0)})
        self.patched = None

    def send(self, method, path, body, headers):
        if "{id}" in path:
            if self.patched is None:
                status, made = self.client.send("POST", SECRETS, self.BOUND)
                assert status == 200, made
                self.patched = made["secret_id"]
            path = path.replace("{id}", self.patched)
        status, answer = self.client.send(method, path, body, headers)
        if status == 200 and method in ("POST", "PATCH"):
            # So that the next request meets the same secrets.
            deleted, _ = self.client.send("DELETE", SECRETS + answer["secret_id"])
            assert deleted == 200
            if answer["secret_id"] == self.patched:
                self.patched = None
        return status, answer


def comparable(status, answer, ordered):
    if status != 422:
        # Other answers that both have are texts, and none of them is about a field.
        return status, answer if status == 405 else None
    errors = []
    for error in answer["detail"]:
        # Pydantic's message for a UUID repeats a character of the input. The rules behind a value_error are keyward's own.
        own_words = error["type"] in ("uuid_parsing", "value_error")
        errors.append((tuple(error["loc"]), error["type"], None if own_words else error["msg"]))
    return status, errors if ordered else sorted(errors, key=repr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bodies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=6)
    args = parser.parse_args()

    config = uvicorn.Config(reference.app, port=0, log_level="error")
    service = uvicorn.Server(config)
    sockets = [config.bind_socket()]
    sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=service.run, args=(sockets,), daemon=True).start()
    reference_client = Client(sockets[0].getsockname()[1])

    counts, mismatches = collections.Counter(), []
    with tempfile.TemporaryDirectory() as directory, running(fresh_vault(directory, "side.keyward")) as server:
        keyward = Keyward(server.port)
        for method, path, body, headers in requests(args.bodies, args.seed):
            if body and (python_alone_reads(body) or newer_python_counts_otherwise(body)):
                counts["skipped"] += 1
                continue
            theirs = reference_client.send(method, path.replace("{id}", UNKNOWN), body, headers)
            ours = keyward.send(method, path, body, headers)
            if "{id}" not in path and UNKNOWN in path.lower() and ours[0] == 404 and theirs[0] == 200:
                # The reference has every secret.
                theirs = (404, None)
            if body and theirs[0] == 400 and not_text_at(body) is not None:
                # The contract names no 400: keyward says json_invalid, and where.
                place = len(body[: not_text_at(body)].decode())
                theirs = 422, {"detail": [{"loc": ["body", place], "type": "json_invalid", "msg": "JSON decode error"}]}
            # keyward judges a default by its place after all fields, and Pydantic in the field's turn.
            ordered = not (body and b"format" in body)
            if comparable(*theirs, ordered) != comparable(*ours, ordered):
                mismatches.append((method, path, body, headers, theirs, ours))
            counts["requests"] += 1
            counts["bodies"] += body is not None and method in ("POST", "PATCH")
            counts[f"status {ours[0]}"] += 1
            for error in ours[1]["detail"] if ours[0] == 422 else []:
                counts[f"type {error['type']}"] += 1
    for mismatch in mismatches[:10]:
        print("mismatch: {} {} {!r} {}\n  FastAPI {}\n  keyward {}".format(*mismatch))
    print("side by side:", ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    print(f"side by side: {counts['bodies']} bodies, {len(mismatches)} mismatches")
    sys.exit(bool(mismatches) or counts["bodies"] < 500)


if __name__ == "__main__":
    main()
