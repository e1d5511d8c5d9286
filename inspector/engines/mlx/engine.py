"""mlx-lm as an engine: its options, and where its plan is."""

from __future__ import annotations

from inspector.engines.engine import Engine
from inspector.engines.mlx.options import MlxOptions


class Mlx(Engine):
    """mlx-lm on Apple's devices."""

    name = "mlx"
    title = "MLX"
    options = MlxOptions
    device_kinds = ("metal",)


ENGINE = Mlx()
