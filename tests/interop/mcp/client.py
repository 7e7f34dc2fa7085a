"""The Python SDK's client: client.py STEPS OUT COMMAND... does the steps, and writes what came of each."""

import json
import os
import sys

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CreateMessageResult, ElicitResult, TextContent


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    with open(sys.argv[1]) as file:
        steps = json.load(file)
    notes = []

    async def log(params):
        notes.append({"log": plain(params)})

    async def message(received):
        if isinstance(received, Exception):
            notes.append({"error": str(received)})

    async def sample(_, params):
        notes.append({"sampling": plain(params)})
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="perhaps"), model="none")

    async def elicit(_, params):
        notes.append({"elicitation": plain(params)})
        return ElicitResult(action="decline")

    server = StdioServerParameters(command=sys.argv[3], args=sys.argv[4:], env=dict(os.environ))
    async with stdio_client(server) as (read, write):
        async with ClientSession(
            read, write, logging_callback=log, message_handler=message, sampling_callback=sample, elicitation_callback=elicit
        ) as session:
            transcript = [plain(await session.initialize())]
            for step in steps:
                transcript.append(await do(session, step, notes))
    with open(sys.argv[2], "w") as file:
        json.dump({"transcript": transcript, "notes": notes}, file, indent=1, sort_keys=True)


async def do(session, step, notes):
    async def progress(done, total, text):
        notes.append({"progress": [done, total, text]})

    try:
        match step:
            case {"call": name}:
                return plain(await session.call_tool(name, step.get("args", {}), progress_callback=progress))
            case {"together": calls}:
                results = [None] * len(calls)

                async def one(index, call):
                    results[index] = await do(session, call, notes)

                async with anyio.create_task_group() as group:
                    for index, call in enumerate(calls):
                        group.start_soon(one, index, call)
                return results
            case {"cancel": call}:
                with anyio.move_on_after(0.3):
                    await do(session, call, notes)
                return "cancelled"
            case {"list": "tools"}:
                return plain(await session.list_tools())
            case {"list": "resources"}:
                return plain(await session.list_resources())
            case {"list": "templates"}:
                return plain(await session.list_resource_templates())
            case {"list": "prompts"}:
                return plain(await session.list_prompts())
            case {"read": uri}:
                return plain(await session.read_resource(uri))
            case {"prompt": name}:
                return plain(await session.get_prompt(name, step.get("args", {})))
            case {"ping": _}:
                return plain(await session.send_ping())
    except Exception as error:
        return {"raised": str(error)}
    raise ValueError(step)


anyio.run(main)
