"""transformers as an engine: the estimate itself, and `device_map` over several devices."""

from __future__ import annotations

from inspector.engines.engine import Engine


class Transformers(Engine):
    """No server: it takes what the model takes, on any device, and has no options of its own."""

    name = "transformers"
    title = "transformers"
    needs_device = False
    counts_images = True


ENGINE = Transformers()
