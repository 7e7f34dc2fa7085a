"""What the contract says in words, and its schemas do not.

Data that is valid under the schemas is not always valid: a default needs a tool and a location, a location is a name or a
JSON Pointer, and names and defaults are unique. Without this, schemathesis would rightly say that its valid data is
refused. What is invalid under the schemas stays as it is.
"""

import itertools
import os

import schemathesis

import reference

# Under the contract, which does not name 409, nothing is asked for that is taken.
UNIQUE = os.environ.get("KEYWARD_UNIQUE") == "1"
numbers = itertools.count()


def is_text(value):
    return isinstance(value, str) and 1 <= len(value) <= 1024


def is_location(text):
    try:
        return reference.location(text) == text
    except ValueError:
        return False


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    n = next(numbers)
    if UNIQUE and is_text(body.get("secret_name")):
        body["secret_name"] = f"{n} {body['secret_name']}"[:1024]
    if is_text(body.get("tool_arg")) and not is_location(body["tool_arg"]):
        body["tool_arg"] = f"arg{n}"
    if body.get("is_default_for_tool") is True:
        if body.get("tool_name", None) is None:
            body["tool_name"] = "tool"
        if body.get("tool_arg", None) is None or (UNIQUE and is_text(body["tool_arg"])):
            body["tool_arg"] = f"arg{n}"
    elif case.method == "PATCH" and "is_default_for_tool" not in body or body.get("is_default_for_tool", 0) is None:
        if any(body.get(name, "") is None for name in ("tool_name", "tool_arg")):
            body["is_default_for_tool"] = False
