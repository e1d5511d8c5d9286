"""The options that commands share; those of settings are made from the dataclass fields that the settings are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from inspector.api.settings import GPU_EXAMPLES, Settings
from inspector.cli.output import saying_options
from inspector.errors import UsageError
from inspector.settings import Setting, read_tokens, settings_of

Command = TypeVar("Command", bound=Callable[..., Any])


class TokenCount(click.ParamType[int]):
    """A number of tokens: 4096, 8k (8,192), 128k, 1m."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return read_tokens(str(value))
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint[:1].lower()}{error.hint[1:]}", param, ctx)


class PictureSize(click.ParamType[tuple[int, int]]):
    """Width and height in pixels: 1024x768, or 1024 for a square."""

    name = "pixels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        sides = str(value).lower().split("x") if not isinstance(value, tuple) else [str(side) for side in value]
        whole = [int(side) for side in sides if side.isascii() and side.isdigit() and len(side) < 6]
        if len(whole) != len(sides) or len(sides) > 2 or not all(1 <= side <= 2**16 for side in whole):
            self.fail(f"'{value}' is no size of an image; try 1024x768, or 1024 for a square", param, ctx)
        return whole[0], whole[-1]


READERS: Mapping[str, click.ParamType[Any]] = {"tokens": TokenCount(), "pixels": PictureSize()}
"""How text is read that is no plain number: by `About.reads`."""


COMPLETED = {"gpus": "gpus", "dtype": "precisions", "kv_dtype": "precisions"}
"""Settings whose values no list of choices has, and what a shell is told of them: completion.py's function."""


def _completer(what: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from inspector.cli import completion

        found: list[Any] = getattr(completion, f"complete_{what}")(context, parameter, incomplete)
        return found

    return complete


def model_argument(name: str = "model", **more: Any) -> Callable[[Command], Command]:
    """MODEL, which shells complete."""
    return click.argument(name, shell_complete=_completer("models"), **more)


def option_of(setting: Setting, *, help: str | None = None, given_or_none: bool = False) -> click.Option:
    """The option of a setting: its name, type, bounds and default are those of the field.

    Args:
        help: instead of the setting's own.
        given_or_none: None where it is not given, whatever the field's default is.
    """
    about, default = setting.about, None if given_or_none else setting.default
    many, values = setting.many, about.values()
    more: dict[str, Any] = {"metavar": about.metavar or None, "multiple": many}
    if "bool" in setting.type:
        more = {"is_flag": True} if default is not True else {"is_flag": True, "flag_value": False}
    elif values and not about.metavar:
        more["type"] = click.Choice(values, case_sensitive=False)
    elif about.reads:
        more["type"] = READERS[about.reads]
    elif "int" in setting.type:
        least, most = (None if each is None else int(each) for each in (about.least, about.most))
        more["type"] = click.INT if least is most is None else click.IntRange(least, most)
    elif "float" in setting.type:
        more["type"] = click.FLOAT if about.least is about.most is None else click.FloatRange(about.least, about.most)
    shown = default not in (None, "", ()) and not isinstance(default, bool)
    if setting.name in COMPLETED:
        more["shell_complete"] = _completer(COMPLETED[setting.name])
    elif values:
        more["shell_complete"] = lambda _context, _option, typed: [
            each for each in values if each.startswith(typed.lower())
        ]
    return click.Option(
        [about.option, setting.name], help=help or about.help, default=default, show_default=shown or None, **more
    )


def setting_options(kind: type, *without: str, help: Mapping[str, str] | None = None) -> Callable[[Command], Command]:
    """The options of a dataclass's settings, in their order.

    Args:
        without: settings that the command does not have.
        help: of some of them the command's own.
    """
    without = (*without, "engine")  # an `EngineCommand`'s
    found = [each for each in settings_of(kind).values() if each.about.option and each.name not in without]
    options = [option_of(each, help=(help or {}).get(each.name)) for each in found]

    def decorate(command: Command) -> Command:
        # click's own decorators keep them so, the last first.
        command.__dict__.setdefault("__click_params__", []).extend(reversed(options))
        return command

    return decorate


class EngineCommand(click.Command):
    """A command with `--engine` and the options of all engines.

    These are made when an argument may be one of them: else a plain report would import every engine.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        found = super().get_params(ctx)
        if ctx.meta.get(_PLAIN):
            return found
        place = next((at for at, each in enumerate(found) if each.name == "gpus"), len(found))
        return [*found[:place], *self._engine_options(), *found[place:]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for each in self.params for name in (*each.opts, *each.secondary_opts)} | {"--"}
        ctx.meta[_PLAIN] = not ctx.resilient_parsing and all(
            not each.startswith("-") or each.partition("=")[0] in own for each in args
        )
        return super().parse_args(ctx, args)

    def _engine_options(self) -> list[click.Option]:
        if not hasattr(self, "_made"):
            from inspector.engines.settings import all_options

            engine = option_of(settings_of(Settings)["engine"])
            self._made = [engine, *(option_of(each, given_or_none=True) for each in all_options().values())]
        return self._made


_PLAIN = "inspector.cli.options.plain"
"""Of a click context: no argument of the command line is an option of engines."""


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


access_options = _options(
    saying_options,
    click.option("--token", metavar="TOKEN", help="Token of the Hub. Default: HF_TOKEN, or the saved login."),
    click.option("--offline", is_flag=True, help="Ask no server: caches and bundled snapshots only."),
)
source_options = _options(
    click.option("--revision", metavar="REV", help="Branch, tag or commit. Default: main."), access_options
)
query_options = _options(
    click.option("--author", metavar="NAME", help="Ask the Hub for the models of this user or organization."),
    click.option("--search", metavar="WORDS", help="... for those with these words in their names."),
    click.option(
        "--filter", "filters", multiple=True, metavar="TAG", help="... for those with this tag; may be repeated."
    ),
    click.option("--pipeline-tag", metavar="TASK", help="... for those of this task: text-generation, ..."),
    click.option(
        "--collection", "collections", multiple=True, metavar="OWNER/SLUG", help="... for those of this collection."
    ),
    click.option(
        "--sort",
        type=click.Choice(
            ["downloads", "likes", "created_at", "last_modified", "trending_score"], case_sensitive=False
        ),
        help="What the Hub lists first: the most of this.",
    ),
    click.option(
        "--limit", type=click.IntRange(1), metavar="N", help="Models to take of the Hub's list. Default: 100."
    ),
)

check_option = click.option(
    "--check", is_flag=True, help="Exit with 1 where it does not fit a --gpu, 4 where that cannot be told."
)
GPU_HELP = f"{GPU_EXAMPLES}; may be repeated."


def with_serving(settings: dict[str, Any]) -> dict[str, Any]:
    """The engines' options, those that were given, as the library takes them: one mapping."""
    own = settings_of(Settings)
    serving = {name: value for name, value in settings.items() if name not in own and value is not None}
    return {name: value for name, value in settings.items() if name in own} | {"serving": serving}
