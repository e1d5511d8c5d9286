"""The options that commands share; those of settings are made from the dataclass fields that the settings are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from inspector.api.settings import GPU_EXAMPLES, Settings
from inspector.cli.output import SAID, Output
from inspector.errors import UsageError
from inspector.settings import Setting, read_pixels, read_tokens, reads_as_one, settings_of, split_values

if TYPE_CHECKING:
    from inspector.report.writers import Format

Command = TypeVar("Command", bound=Callable[..., Any])
Completer = Callable[[click.Context, click.Parameter, str], list[Any]]

MODEL, HUB_LIST, WORKLOAD, TRAINING, DEVICE, ENGINE, OUTPUT = (
    "Model",
    "A list of the Hub's",
    "Workload",
    "Training",
    "Device",
    "Engine",
    "Output",
)
"""Headings, in this order; a command's own stand before the output's."""

SAYING = ("-q, --quiet", "-v, --verbose")
"""Options that are the last of their heading."""
_ALL = "inspector.cli.help.all"


class Option(click.Option):
    """An option with a heading to stand under.

    Args:
        group: the heading; "" for the command's own, "Options".
        rare: shown by --help-all alone.
    """

    def __init__(self, *names: Any, group: str = "", rare: bool = False, **more: Any) -> None:
        super().__init__(*names, **more)
        self.group = group
        self.rare = rare

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Without the bounds of numbers: a wrong one is told."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class GroupedCommand(click.Command):
    """A command whose help has headings, examples, and no option that few need.

    Args:
        examples: lines to paste, each with what it does.
    """

    def __init__(self, *arguments: Any, examples: tuple[tuple[str, str], ...] = (), **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.examples = examples

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """--help-all shows more than --help does."""
        return [name for name in super().get_help_option_names(ctx) if name != "--help-all"]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        every = click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_all,
            help="Show all options.",
        )
        found = super().get_params(ctx)
        return [*found[:-1], every, found[-1]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each group under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {
            name: [] for name in (MODEL, HUB_LIST, WORKLOAD, TRAINING, DEVICE, ENGINE)
        }
        hidden = 0
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            if record is None or isinstance(each, click.Argument):
                continue
            rare = getattr(each, "rare", False) and not ctx.meta.get(_ALL)
            hidden += rare
            if not rare:
                groups.setdefault(getattr(each, "group", "") or "Options", []).append(record)
        for name in (OUTPUT, "Options"):
            groups[name] = sorted(groups.pop(name, []), key=lambda record: record[0] in SAYING)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
        if not ctx.meta.get(_ALL) and (more := self.more_help(hidden)):
            formatter.write_paragraph()
            formatter.write_text(more)

    def more_help(self, hidden: int) -> str:
        """What --help-all shows beside; "" for nothing."""
        return f"--help-all shows {hidden} more." if hidden else ""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples."""
        if self.examples:
            with formatter.section("Examples"):
                for line, text in self.examples:
                    formatter.write(f"  {line}\n      {text}\n")
        super().format_epilog(ctx, formatter)


def _show_all(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        context.meta[_ALL] = True
        click.echo(context.get_help(), color=context.color)
        context.exit()


def option(*names: str, group: str = "", rare: bool = False, **more: Any) -> Callable[[Command], Command]:
    """`click.option` with a heading to stand under."""
    return click.option(*names, cls=Option, group=group, rare=rare, **more)


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


class ImageSize(click.ParamType[tuple[int, int]]):
    """Width and height in pixels: 1024x768, or 1024 for a square."""

    name = "pixels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        try:
            return read_pixels("x".join(map(str, value)) if isinstance(value, tuple) else str(value))
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint[:1].lower()}{error.hint[1:-1]}", param, ctx)


class NearChoice(click.Choice[str]):
    """A choice in any case; a wrong one is told with what it may be a slip of.

    Args:
        names: the values that there are.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names, case_sensitive=False)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        from difflib import get_close_matches

        near = get_close_matches(str(value).lower(), self.choices, 1, 0.5)
        return super().get_invalid_choice_message(value, ctx) + (f" Did you mean {near[0]}?" if near else "")


class LazyChoice(NearChoice):
    """A choice of what is registered when it is asked, in any case.

    Args:
        names: tells them.
        usual: taken without asking: what stands behind the names is imported for the others alone.
    """

    def __init__(self, names: Callable[[], tuple[str, ...]], usual: str | None = None) -> None:
        self._names = names
        self._usual = usual
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        return self._names()

    @choices.setter
    def choices(self, choices: tuple[str, ...]) -> None:
        """They are not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value) if value == self._usual else super().convert(value, param, ctx)


class Range(tuple[Any, ...]):
    """Several values of a setting: what a table has rows or columns for."""


class Several(click.ParamType[Any]):
    """One value, or a list with commas: a `Range`.

    Args:
        one: the type of a value.
        reads: how text is read, as `About.reads` says.
    """

    def __init__(self, one: click.ParamType[Any], reads: str = "") -> None:
        self.one, self.reads = one, reads
        self.name = one.name

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"{self.one.get_metavar(param, ctx) or self.name.upper()},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return self.one.convert(value, param, ctx)
        try:
            texts = split_values(value, self.reads)
        except UsageError as error:
            self.fail(error.message, param, ctx)
        if self.reads == "tokens" and (told := reads_as_one(value)):
            click.echo(f"Note: {told}", err=True)
        found = Range(dict.fromkeys(self.one.convert(each, param, ctx) for each in texts))
        return found if len(found) > 1 else found[0]


def _of_last(complete: Completer) -> Completer:
    """Completes the last value of a list with commas."""

    def of_last(context: click.Context, option: click.Parameter, typed: str) -> list[Any]:
        before, comma, last = typed.rpartition(",")
        found = complete(context, option, last)
        return [f"{before},{getattr(each, 'value', each)}" for each in found] if comma else found

    return of_last


def ranges_of(settings: dict[str, Any]) -> dict[str, Range]:
    """The settings with several values, which are taken out of the others."""
    found = {name: value for name, value in settings.items() if isinstance(value, Range)}
    for name in found:
        del settings[name]
    return found


def _devices(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> tuple[str, ...]:
    """Each of several devices, of options that are repeated and of lists with commas."""
    return tuple(each for text in texts for each in split_values(text))


def format_choice(offered: Callable[[Format], bool]) -> LazyChoice:
    """The formats of report/ that a command can write."""

    def names() -> tuple[str, ...]:
        from inspector.report.writers import FORMATS

        return tuple(name for name, each in FORMATS.items() if offered(each))

    return LazyChoice(names, "text")


READERS: Mapping[str, click.ParamType[Any]] = {"tokens": TokenCount(), "pixels": ImageSize()}
"""How text is read that is no plain number: by `About.reads`."""

COMPLETED = {"gpus": "gpus", "dtype": "precisions", "kv_dtype": "precisions"}
"""Settings whose values no list of choices has, and what a shell is told of them: completion.py's function."""


def _completer(what: str) -> Completer:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from inspector.cli import completion

        found: list[Any] = getattr(completion, f"complete_{what}")(context, parameter, incomplete)
        return found

    return complete


def file_option(help: str) -> Callable[[Command], Command]:
    """`-o FILE`, as `path`: None for standard output."""
    kind = click.Path(dir_okay=False, path_type=Path)
    return option("-o", "--output", "path", group=OUTPUT, type=kind, metavar="FILE", help=help)


def model_argument(name: str = "model", **more: Any) -> Callable[[Command], Command]:
    """MODEL, which shells complete."""
    return click.argument(name, shell_complete=_completer("models"), **more)


def option_of(
    setting: Setting,
    *,
    help: str | None = None,
    given_or_none: bool = False,
    group: str = "",
    several: bool = False,
) -> Option:
    """The option of a setting: its name, type, bounds and default are those of the field.

    Args:
        help: instead of the setting's own.
        given_or_none: None where it is not given, whatever the field's default is.
        group: the heading, unless the setting has one.
        several: the command makes a table of several values, where the setting may have them.
    """
    about, default = setting.about, None if given_or_none else setting.default
    many, values = setting.many, () if callable(about.choices) else about.values()
    number = "N" if "int" in setting.type and not about.reads else "X" if "float" in setting.type else None
    more: dict[str, Any] = {"metavar": about.metavar or (None if values else number), "multiple": many}
    if "bool" in setting.type:
        more = {"is_flag": True} if default is not True else {"is_flag": True, "flag_value": False}
    elif callable(about.choices):
        more["type"] = LazyChoice(about.choices, str(default))
    elif values and not about.metavar:
        more["type"] = NearChoice(values)
    elif about.reads:
        more["type"] = READERS[about.reads]
    elif "int" in setting.type:
        least, most = (None if each is None else int(each) for each in (about.least, about.most))
        more["type"] = click.INT if least is most is None else click.IntRange(least, most)
    elif "float" in setting.type:
        more["type"] = click.FLOAT if about.least is about.most is None else click.FloatRange(about.least, about.most)
    if about.several and many:
        more["callback"] = _devices
    shown = default not in (None, "", ()) and not isinstance(default, bool)
    if setting.name in COMPLETED:
        more["shell_complete"] = _completer(COMPLETED[setting.name])
    elif values:
        more["shell_complete"] = lambda _context, _option, typed: [
            each for each in values if each.startswith(typed.lower())
        ]
    if about.several and several and not many:
        one: click.ParamType[Any] = more.get("type", click.STRING)
        more["shell_complete"] = _of_last(more.get("shell_complete") or one.shell_complete)
        more["type"] = Several(one, about.reads)
        more["metavar"] = f"{more['metavar']},..." if more["metavar"] else None
    return Option(
        [about.option, setting.name],
        help=help or about.help,
        default=default,
        show_default=shown or None,
        group=about.group or group,
        rare=about.rare,
        **more,
    )


def setting_options(
    kind: type, *without: str, help: Mapping[str, str] | None = None, group: str = WORKLOAD, several: bool = False
) -> Callable[[Command], Command]:
    """The options of a dataclass's settings, in their order.

    Args:
        without: settings that the command does not have.
        help: of some of them the command's own.
        group: the heading of those that say none.
        several: as of `option_of`.
    """
    found = [each for each in settings_of(kind).values() if each.about.option and each.name not in without]
    options = [option_of(each, help=(help or {}).get(each.name), group=group, several=several) for each in found]

    def decorate(command: Command) -> Command:
        # click's own decorators keep them so, the last first.
        command.__dict__.setdefault("__click_params__", []).extend(reversed(options))
        return command

    return decorate


class EngineCommand(GroupedCommand):
    """A command with `--engine` and the options of all engines.

    These are made when an argument may be one of them: else a plain report would import every engine.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        found = super().get_params(ctx)
        if ctx.meta.get(_PLAIN) and not ctx.meta.get(_ALL):
            return found
        place = next((at for at, each in enumerate(found) if each.name == "gpus"), len(found))
        return [*found[:place], *self._engine_options(), *found[place:]]

    def more_help(self, hidden: int) -> str:
        return f"--help-all shows {hidden} more, and the options of each engine."

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for each in self.params for name in (*each.opts, *each.secondary_opts)}
        own |= {"--", "--help", "-h", "--help-all"}
        ctx.meta[_PLAIN] = not ctx.resilient_parsing and all(
            not each.startswith("-") or each.partition("=")[0] in own for each in args
        )
        return super().parse_args(ctx, args)

    def _engine_options(self) -> list[Option]:
        if not hasattr(self, "_made"):
            from inspector.engines.settings import all_options, engines_with

            of_engines = {name: f"{ENGINE}: {', '.join(having)}" for name, having in engines_with().items()}
            self._made = [
                option_of(each, given_or_none=True, group=of_engines[name]) for name, each in all_options().items()
            ]
        return self._made


PLOTTED = "-"
"""The value of --plot without a file."""
PLOT_SUFFIXES = (".svg", ".png")
OTHER_PICTURES = (".bmp", ".eps", ".gif", ".jpeg", ".jpg", ".pdf", ".ps", ".tif", ".tiff", ".webp")
"""No plot is written as these, and no model is named so: refused as a file."""


class PlottingCommand(EngineCommand):
    """A command with `--plot`, whose file may be left out: what follows is one only if it is named as an image."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        for at, each in enumerate(args[:end]):
            following = args[at + 1] if at + 1 < end else ""
            if each == "--plot" and not following.lower().endswith(PLOT_SUFFIXES + OTHER_PICTURES):
                args = [*args[:at], f"--plot={PLOTTED}", *args[at + 1 :]]
        return super().parse_args(ctx, args)


_PLAIN = "inspector.cli.options.plain"
"""Of a click context: no argument of the command line is an option of engines."""


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _says(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta[SAID] = -1 if option.name == "quiet" else 1


def saying_options(command: Command) -> Command:
    """`-q` and `-v`."""
    for name, help in (
        ("verbose", "Also say where the answer is from, and which rule told each number."),
        ("quiet", "Say nothing but the result: no notes, no progress."),
    ):
        decorate = option(
            f"-{name[0]}", f"--{name}", group=OUTPUT, is_flag=True, expose_value=False, callback=_says, help=help
        )
        command = decorate(command)
    return command


def output_options(command: Command) -> Command:
    """`--explain`, `--format`, `--json` and `-o`. `output_format` tells the format."""
    type = format_choice(lambda each: each.prints)
    for decorator in (
        file_option("Write to a file. Its name tells the format, too: .html, .json, .csv, .md."),
        option("--json", "output", group=OUTPUT, flag_value="json", type=type, help="Short for --format json."),
        option(
            "--format",
            "output",
            group=OUTPUT,
            type=type,
            show_default="text",
            help="How to print.",
        ),
        option(
            "--explain", group=OUTPUT, is_flag=True, help="Show each formula with the numbers in it, and its source."
        ),
    ):
        command = decorator(command)
    return command


def output_format(given: str | None, path: Path | None) -> str:
    """The format that was asked for, else what the file's name says, else text."""
    if given or path is None:
        return given or "text"
    return format_by_name(path, "text")


def format_by_name(path: Path, usual: str) -> str:
    """What the file's name says; where it ends as no format does, the usual one, with a note."""
    from inspector.report.writers import format_of

    found = format_of(path, batch=usual != "text")
    if found is None and path.suffix:
        Output().note(f"the name {path.name} tells no format: written as {usual}; --format tells one")
    return found or usual


access_options = _options(
    saying_options,
    option(
        "--token",
        group=MODEL,
        rare=True,
        metavar="TOKEN",
        help="Token of the Hub. Default: HF_TOKEN, or the saved login.",
    ),
    option("--offline", group=MODEL, is_flag=True, help="Ask no server: caches and bundled snapshots only."),
)
source_options = _options(
    option("--revision", group=MODEL, metavar="REV", help="Branch, tag or commit. Default: main."), access_options
)
query_options = _options(
    option("--author", group=HUB_LIST, metavar="NAME", help="Ask the Hub for the models of this user or organization."),
    option("--search", group=HUB_LIST, metavar="WORDS", help="... for those with these words in their names."),
    option(
        "--filter",
        "filters",
        group=HUB_LIST,
        multiple=True,
        metavar="TAG",
        help="... for those with this tag; may be repeated.",
    ),
    option("--pipeline-tag", group=HUB_LIST, metavar="TASK", help="... for those of this task: text-generation, ..."),
    option(
        "--collection",
        "collections",
        group=HUB_LIST,
        multiple=True,
        metavar="OWNER/SLUG",
        help="... for those of this collection.",
    ),
    option(
        "--sort",
        group=HUB_LIST,
        type=click.Choice(
            ["downloads", "likes", "created_at", "last_modified", "trending_score"], case_sensitive=False
        ),
        help="What the Hub lists first: the most of this.",
    ),
    option(
        "--limit",
        group=HUB_LIST,
        type=click.IntRange(1),
        metavar="N",
        help="Models to take from the Hub's list. Default: 100.",
    ),
)

check_option = option(
    "--check",
    group=DEVICE,
    is_flag=True,
    help="Exit with 1 where it does not fit a --gpu, 4 where that cannot be told.",
)


def refuse_check_alone(check: bool, gpus: Sequence[str]) -> None:
    """Raises:
    UsageError: --check without a device.
    """
    if check and not gpus:
        raise UsageError("--check needs a device", "Name one: --gpu 'RTX 4090'.")


DRAFT_HELP = (
    "What drafts: a model, or under vLLM and SGLang an EAGLE head, or mtp: the model's own layers. Of a log: by default"
    " what it names."
)

GPU_HELP = f"{GPU_EXAMPLES}; may be repeated."


def with_serving(settings: dict[str, Any]) -> dict[str, Any]:
    """The engines' options, those that were given, as the library takes them: one mapping."""
    own = settings_of(Settings)
    serving = {name: value for name, value in settings.items() if name not in own and value is not None}
    return {name: value for name, value in settings.items() if name in own} | {"serving": serving}
