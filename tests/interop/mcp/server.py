"""A FastMCP server whose tools take credentials as arguments, and give them away in every way that there is."""

import base64
import hashlib
import json
import os
import sys
import urllib.parse

import anyio
from fastmcp import Context, FastMCP
from mcp.types import EmbeddedResource, SamplingMessage, TextContent, TextResourceContents
from typing_extensions import TypedDict

server = FastMCP("credentials")


def proof(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@server.tool
def create_issue(title: str, api_key: str) -> dict:
    """Creates an issue."""
    return {"title": title, "proof": proof(api_key), "echo": api_key, api_key: [api_key]}


class Headers(TypedDict, total=False):
    Accept: str
    Authorization: str


@server.tool
def fetch(url: str, headers: Headers | None = None) -> dict:
    """Fetches a page."""
    header = (headers or {}).get("Authorization", "")
    return {"url": url, "proof": proof(header), "echo": header}


@server.tool
def encode(api_key: str) -> str:
    """Says the key in other words."""
    raw = api_key.encode()
    return "\n".join([
        base64.b64encode(b"user:" + raw).decode(),
        raw.hex(),
        urllib.parse.quote(api_key, safe=""),
        json.dumps({"nested": json.dumps(api_key)}),
    ])


@server.tool
def fail(api_key: str) -> str:
    """Fails."""
    raise ValueError(f"401: bad key {api_key}")


@server.tool
def resource(api_key: str) -> list:
    """Answers with an embedded resource."""
    contents = TextResourceContents(uri="memo://key", mime_type="text/plain", text=f"key={api_key}")
    return [TextContent(type="text", text="see"), EmbeddedResource(type="resource", resource=contents)]


@server.tool
async def talk(api_key: str, ctx: Context) -> str:
    """Reports progress, logs, and writes to standard error."""
    await ctx.report_progress(1, 2, f"trying {api_key}")
    await ctx.info(f"using {api_key}")
    print(f"stderr: {api_key}", file=sys.stderr, flush=True)
    return "done"


@server.tool
async def consult(api_key: str, ctx: Context) -> str:
    """Asks the client's model, and the person."""
    question = SamplingMessage(role="user", content=TextContent(type="text", text=f"Is {api_key} a key?"))
    answer = await ctx.session.create_message([question], max_tokens=9, system_prompt=f"You hold {api_key}.")
    schema = {"type": "object", "properties": {"sure": {"type": "boolean", "description": f"of {api_key}"}}}
    asked = await ctx.session.elicit_form(f"Use {api_key}?", schema)
    return f"{answer.content.text}, {asked.action}"


@server.tool
def send(body: str) -> str:
    """Sends a message away."""
    return f"sent {body}"


@server.tool
async def slow(number: int, seconds: float) -> int:
    """Takes its time."""
    await anyio.sleep(seconds)
    return number


@server.tool
def big(length: int) -> str:
    """A large result."""
    return "x" * length


@server.tool
def environment(name: str) -> str:
    """A variable of the environment."""
    return f"{proof(os.environ.get(name, ''))} {os.environ.get(name)}"


@server.tool
def pid() -> int:
    """The server's process."""
    return os.getpid()


@server.resource("memo://environment")
def memo() -> str:
    """A resource with a key in it."""
    return f"TOKEN={os.environ.get('TOKEN')}"


@server.prompt
def ask() -> str:
    """A prompt with a key in it."""
    return f"Use {os.environ.get('TOKEN')}."


server.run(transport="stdio", show_banner=False)
