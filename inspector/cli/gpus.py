"""The command `gpus`: the devices it knows, and those of this machine."""

from __future__ import annotations

import click

from inspector.cli.output import Output, json_option
from inspector.errors import UsageError


@click.command()
@click.argument("words", metavar="[WORDS]...", nargs=-1)
@json_option
def gpus(words: tuple[str, ...], output: str) -> int:
    """List the devices it knows, and those of this machine.

    WORDS are looked for in names, vendors, what a device is built as and computes, and in the names of machines of
    cloud providers: `gpus 4090`, `gpus amd fp8`, `gpus mig h100`, `gpus p5`.
    """
    from inspector.devices.detect import detect
    from inspector.devices.table import search_devices, search_instances
    from inspector.report.devices import devices_record, print_devices
    from inspector.report.writers import Answer

    known, machines = search_devices(words), search_instances(words)
    if not known and not machines:
        raise UsageError(f"no device has {' '.join(words)!r} in its name", "`llm-inspect gpus` lists them all.")
    out, found = Output(output), (known, detect(), machines, bool(words))
    out.write(Answer((), lambda: [devices_record(*found)], lambda: print_devices(out.console, *found)))
    return out.exit_code
