"""The command `gpus`: the devices it knows, and those of this machine."""

from __future__ import annotations

import click

from inspector.cli.output import Output, json_option


@click.command()
@json_option
def gpus(output: str) -> int:
    """List the devices it knows, and those of this machine."""
    from inspector.devices.detect import detect
    from inspector.devices.table import list_devices
    from inspector.report.devices import devices_record, print_devices
    from inspector.report.writers import Answer

    out, found = Output(output), (list_devices(), detect())
    out.write(Answer((), lambda: [devices_record(*found)], lambda: print_devices(out.console, *found)))
    return out.exit_code
