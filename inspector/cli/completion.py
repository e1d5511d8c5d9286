"""The command `completion`, and what a shell is told of values that no list of choices has: models, GPUs, ..."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from inspector.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS, case_sensitive=False))
def completion(shell: str) -> int:
    """Print what makes a shell complete commands, options, models and GPUs.

    \b
    bash: llm-inspect completion bash >> ~/.bashrc
    zsh:  llm-inspect completion zsh >> ~/.zshrc
    fish: llm-inspect completion fish > ~/.config/fish/completions/llm-inspect.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    if kind is None:
        raise UsageError(f"no completion for {shell}")
    template = kind(root, {}, "llm-inspect", "_LLM_INSPECT_COMPLETE")
    # click's `source` of bash starts a bash to look at its version: only the text is wanted here.
    click.echo(template.source_template % template.source_vars())
    return 0


def complete_models(
    _context: click.Context | None, _parameter: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """Bundled and kept models, and folders: no server is asked."""
    from inspector.hub.cache.bundled import bundled_names
    from inspector.hub.cache.upkeep import kept_names
    from inspector.hub.client.settings import Settings

    typed = incomplete.lower()
    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="dir")]
    names = sorted({*bundled_names(), *kept_names(Settings.of().cache)}, key=str.lower)
    # What stands behind the owner is as good a beginning.
    return [
        CompletionItem(name)
        for name in names
        if typed in (name.lower()[: len(typed)], name.rpartition("/")[2].lower()[: len(typed)])
    ]


def complete_gpus(
    _context: click.Context | None, _parameter: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """Known devices, written without spaces, and "auto"."""
    from inspector.devices.table import list_devices

    count, times, typed = incomplete.rpartition("x") if incomplete[:1].isdigit() else ("", "", incomplete)
    names = ["auto", *("".join(device.name.split()) for device in list_devices())]
    return [CompletionItem(f"{count}{times}{name}") for name in names if name.lower().startswith(typed.lower())]


def complete_precisions(
    _context: click.Context | None, parameter: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """Precisions, and for weights recipes and llama.cpp's types of files, too."""
    from inspector.memory.precision import FILE_TYPE_NAMES, PRECISION_BITS, RECIPE_NAMES, STORED

    whole = parameter is None or parameter.name == "dtype"
    names = (STORED, *PRECISION_BITS, *RECIPE_NAMES, *FILE_TYPE_NAMES) if whole else tuple(PRECISION_BITS)
    return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]
