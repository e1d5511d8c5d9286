"""The mechanisms of attention and state: one file each, with its facts and its sizing rules.

`from inspector.model.layers import SlidingAttention` gives any of them by name, from the file that the registry names.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from inspector.model.layers.registry import LAYER_TYPES, OF_FACTS, load

    roots = ("layer:Layer", "layer:StateTensor", "full:Attention")
    for reference in (*roots, *LAYER_TYPES.values(), *OF_FACTS.values()):
        if reference.endswith(f":{name}"):
            return load(reference)
    raise AttributeError(name)
