"""The command line: parses options, calls the library, prints. No arithmetic here."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from inspector.errors import InspectError, OutputFailed, UsageError
from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "batch": ("batch", "Inspect the models of a list, a line of output for each, and a summary."),
    "cache": ("cache", "The answers that are kept between runs."),
    "check-log": ("check_log", "Show what an engine's start-up log printed beside what is predicted."),
    "completion": ("completion", "Print what makes bash, zsh or fish complete commands, models and GPUs."),
    "diff": ("diff", "Compare two models, revisions or folders by config and headers."),
    "find": ("find", "Say which models run on a device, each with the best way to run it."),
    "fit": ("fit", "Say whether a model fits, and exit with 0 if it does, 1 if not, 4 if that cannot be told."),
    "gpus": ("gpus", "List the devices it knows, and those of this machine."),
    "lock": ("lock", "Write a manifest of what models are now, for verify."),
    "mcp": ("mcp", "Serve inspect, fit, train, find and compare as tools for agents (MCP)."),
    "schema": ("schema", "Print the JSON Schema of every JSON output."),
    "show": ("show", "Report what a model is and what it takes."),
    "train": ("train", "What one training step takes on the fullest GPU: the peak, what lives at it, and its phase."),
    "verify": ("verify", "Check that models are what a manifest says."),
    "web": ("web", "Open a page in the browser: any model, with sliders for what it is asked."),
}
"""Command -> its module in this folder, where its function has the module's name, and its line in the list."""
WELCOME = f"""\
llm-inspect {__version__}: the memory that a Hugging Face model takes, from its config and headers alone

  llm-inspect meta-llama/Meta-Llama-3-8B              what a model is, and what it takes
  llm-inspect fit Qwen/Qwen3-8B --gpu 'RTX 4090'      whether it fits a GPU, with what left
  llm-inspect train Qwen/Qwen3-8B --method lora       what a training step takes

llm-inspect --help lists the commands, llm-inspect COMMAND --help their options."""
_LONGEST_GPU_NAME = 6
"""Words of a GPU's name."""

_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
EXIT_BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


class DefaultGroup(click.Group):
    """A group whose first argument may be left out: `llm-inspect MODEL` is `llm-inspect show MODEL`.

    A command is imported when it is asked for: its modules are the start-up of no other command.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module = COMMANDS[cmd_name][0]
        command: click.Command = getattr(import_module(f"inspector.cli.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without an import of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(WELCOME)
            ctx.exit()
        if args and args[0] not in COMMANDS and args[0] not in ("--help", "-h", "--help-all", "--version"):
            args = ["show", *args]
        if any(each.partition("=")[0] == "--gpu" for each in args):
            _refuse_unquoted_gpu(args)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, options, and the models of `show`, whose name may be left out."""
        from inspector.cli.completion import complete_models

        return super().shell_complete(ctx, incomplete) + complete_models(ctx, None, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has gone, and Python must not try to flush to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(EXIT_BROKEN_PIPE)
        return result


def _refuse_unquoted_gpu(args: Sequence[str]) -> None:
    """`--gpu RTX 4090 MODEL` would take "4090" for a model.

    Raises:
        UsageError: the words behind a `--gpu` name a device together.
    """
    for at, each in enumerate(args):
        option, equals, value = each.partition("=")
        words = [value] if equals else []
        for word in args[at + 1 :]:
            if word.startswith("-") or len(words) == _LONGEST_GPU_NAME:
                break
            words.append(word)
        if option != "--gpu" or len(words) < 2 or "/" in words[1]:
            continue
        from inspector.devices.table import find_device

        for many in range(len(words), 1, -1):
            name = " ".join(words[:many])
            try:
                known = find_device(name) is not None
            except UsageError:  # it means several devices: quoted, too
                known = True
            if known:
                raise UsageError(f"a GPU's name with spaces needs quotes: --gpu '{name}'")


@click.group(
    cls=DefaultGroup,
    context_settings={"help_option_names": ["-h", "--help", "--help-all"], "max_content_width": 100},
    epilog="MODEL is a repo ID (org/name, org/name@revision, gpt2) or a local folder or file. org/name:PICK is one of"
    " the models that a repo holds: a GGUF quantization (Q4_K_M), a variant (fp16), a folder (unet) or a file."
    " `llm-inspect MODEL` is short for `llm-inspect show MODEL`.",
)
@click.version_option(__version__, prog_name="llm-inspect")
def cli() -> None:
    """Will it fit? Exact parameters and memory of a Hugging Face model, from its config and headers alone."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code. Errors become one or two lines on standard error."""
    try:
        code = cli.main(list(arguments), prog_name="llm-inspect", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except InspectError as error:
        from inspector.cli.output import Output

        return Output().fail(error)
    except Exception as error:
        if os.environ.get("LLM_INSPECT_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
            why = "standard output is closed" if error.errno == errno.EBADF else error.strerror
            click.echo(f"Error: the output could not be written: {why}", err=True)
            return OutputFailed.exit_code
        click.echo(
            f"Error: a bug in llm-inspect: {type(error).__name__}: {error}\n"
            "Please report it; LLM_INSPECT_DEBUG=1 shows where it happened.",
            err=True,
        )
        return InspectError.exit_code
