"""The command `mcp`: the library as tools of the Model Context Protocol, over standard input and output.

What a tool takes is made from the dataclasses of settings; what it answers is the JSON record of the like command.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import click

from inspector.cli.mcp_tools import Record, Tool, tools
from inspector.cli.options import GroupedCommand, option
from inspector.errors import InspectError, UsageError
from inspector.hub import Resolver
from inspector.settings import Setting, settings_of, tuples
from inspector.tables import table_text
from inspector.version import __version__

INSTRUCTIONS = (
    "Says whether a model fits a GPU and what memory it takes, from config.json and the headers of its weights alone:"
    " nothing is downloaded or run. Sizes are integers in bytes; null is unknown, and `warnings` says why. Use fit for"
    " 'does it fit', train for fine-tuning, find for what runs on a GPU, inspect for parameters, KV cache and memory,"
    " compare for two models."
)


@click.command(
    cls=GroupedCommand,
    examples=(("claude mcp add llm-inspect -- llm-inspect mcp", "add it to an agent"),),
)
@option("--offline", is_flag=True, help="Ask no server: caches and bundled snapshots only.")
def mcp(offline: bool) -> int:
    """Serve inspect, fit, train, find and compare as MCP tools over standard input and output, for agents.

    Needs the package mcp: pip install 'mcp>=2.1'. Gated models need HF_TOKEN, or the saved login.
    """
    try:
        import anyio
        from mcp.server.lowlevel import Server
        from mcp.server.stdio import stdio_server
        from mcp_types import CallToolResult, ListToolsResult, TextContent
        from mcp_types import Tool as Listed
    except ImportError:
        raise UsageError("the MCP server needs mcp", "Install it: pip install 'mcp>=2.1'.") from None

    async def list_tools(_context: Any, _page: Any) -> ListToolsResult:
        return ListToolsResult(tools=[Listed.model_validate({"name": name, **listed(name)}) for name in tools()])

    async def call_tool(_context: Any, asked: Any) -> CallToolResult:
        failed, text, record = await anyio.to_thread.run_sync(
            called, asked.name, asked.arguments or {}, resolver, abandon_on_cancel=True
        )
        content = [TextContent(type="text", text=text)]
        return CallToolResult(content=content, structured_content=record, is_error=failed)

    async def serve() -> None:
        server = Server(
            "llm-inspect",
            version=__version__,
            instructions=INSTRUCTIONS,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
        )
        async with stdio_server() as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options())

    with Resolver(offline=offline or None) as resolver:
        anyio.run(serve)
    return 0


def called(name: str, arguments: Record, resolver: Resolver) -> tuple[bool, str, Record | None]:
    """What a call comes to: whether it failed, its text, and its record."""
    from inspector.record import error_record
    from inspector.report.json_text import json_text

    try:
        if name not in tools():
            raise UsageError(f"there is no tool '{name}'", f"There are: {', '.join(tools())}.")
        tool = tools()[name]
        if missing := [each for each in tool.needs if not arguments.get(each)]:
            raise UsageError(f"{name} needs {' and '.join(missing)}")
        if unknown := [each for each in arguments if each not in input_schema(tool)["properties"]]:
            raise UsageError(f"{name} has no argument '{unknown[0]}'", _near(unknown[0], tool))
        given = tuples(arguments)
        record = tool.answer(given | {"resolver": resolver})
        return False, json_text(record), record
    except InspectError as error:
        return True, f"Error: {error}", error_record(arguments.get("model"), error)
    except TypeError as error:
        return True, f"Error: {error}", error_record(arguments.get("model"), UsageError(str(error)))
    except Exception as error:
        text = f"a bug in llm-inspect: {type(error).__name__}: {error}"
        return True, f"Error: {text}", error_record(arguments.get("model"), InspectError(text))


def _near(name: str, tool: Tool) -> str:
    import difflib

    near = difflib.get_close_matches(name.lstrip("-").replace("-", "_"), input_schema(tool)["properties"], 1, 0.6)
    return f"Did you mean {near[0]}?" if near else f"It has: {', '.join(input_schema(tool)['properties'])}."


def listed(name: str) -> Record:
    """A tool as `tools/list` tells it."""
    tool = tools()[name]
    return {
        "description": tool.about,
        "inputSchema": input_schema(tool),
        "outputSchema": output_schema(tool.record, many=tool.many),
        "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True},
    }


def input_schema(tool: Tool) -> Record:
    """The JSON Schema of a tool's arguments, from the settings that they are."""
    found: Record = {name: {"type": "string", "description": text} for name, text in tool.names.items()}
    for kind in tool.kinds:
        found |= {name: argument(each) for name, each in settings_of(kind).items() if each.about.option}
    for name, (text, settings) in tool.nested.items():
        inner = {each: argument(setting) for each, setting in settings.items()}
        found[name] = {"type": "object", "description": text, "properties": inner, "additionalProperties": False}
    return {"type": "object", "properties": found, "required": list(tool.needs), "additionalProperties": False}


_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string", "None": "null", "Formulas": "string"}


def argument(setting: Setting) -> Record:
    """The JSON Schema of one setting."""
    about, values = setting.about, setting.about.values()
    if setting.many:
        item = {"enum": list(values)} if values else {"type": "string"}
        found: Record = {"type": "array", "items": item}
    elif setting.type.startswith("tuple[int"):
        found = {"type": ["array", "null"], "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
    else:
        types = [_TYPES[each] for each in setting.type.split(" | ")]
        found = {"type": types if len(types) > 1 else types[0]}
        if values and not about.metavar:
            found = {"enum": list(values) + [None] * ("null" in types)}
    bounds = {"minimum": about.least, "maximum": about.most}
    found |= {key: value for key, value in bounds.items() if value is not None}
    if setting.default not in (None, "", (), dataclasses.MISSING):
        found["default"] = setting.default
    return found | {"description": _OPTION.sub(lambda option: _arguments().get(option[0], option[0]), about.help)}


_OPTION = re.compile(r"--[a-z][a-z0-9-]*[a-z0-9]")


@cache
def _arguments() -> Mapping[str, str]:
    """Options of the command line -> the arguments of tools that they are."""
    kinds = {kind for tool in tools().values() for kind in tool.kinds}
    settings = [settings_of(kind) for kind in kinds] + [
        each for tool in tools().values() for _, each in tool.nested.values()
    ]
    return {each.about.option: name for some in settings for name, each in some.items()}


@cache
def output_schema(name: str, *, many: bool) -> Record:
    """The keys of a record and their types; `llm-inspect schema` tells what is in them, at ten times the length.

    Args:
        many: of an object whose `models` are such records.
    """
    whole = json.loads(table_text("schema.json"))["$defs"]

    def outline(part: Any) -> Record:
        if "$ref" in part:
            part = whole[part["$ref"].rpartition("/")[2]]
        kept = {key: part[key] for key in ("type", "enum", "const", "description") if key in part}
        if "anyOf" in part:
            kinds: Sequence[Any] = [outline(each).get("type") for each in part["anyOf"]]
            kept["type"] = sorted({kind for each in kinds for kind in (each if isinstance(each, list) else [each])})
        return kept

    record = whole[name]
    properties = {key: outline(part) for key, part in record["properties"].items()}
    found: Record = {"type": "object", "properties": properties, "required": record["required"]}
    if not many:
        return found
    keys = {"schema": {"const": 1}, "models": {"type": "array", "items": found}}
    return {"type": "object", "properties": keys, "required": [*keys]}
