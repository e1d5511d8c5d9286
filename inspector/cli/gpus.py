"""The command `gpus`: the devices it knows, and those of this machine."""

from __future__ import annotations

import click

from inspector.cli.output import console, print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def gpus(as_json: bool) -> int:
    """List the devices it knows, and those of this machine."""
    from inspector.devices.detect import detect
    from inspector.devices.table import list_devices
    from inspector.report.devices import devices_record, print_devices

    if as_json:
        print_json(devices_record(list_devices(), detect()))
    else:
        print_devices(console(), list_devices(), detect())
    return 0
