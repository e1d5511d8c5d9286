"""Keys of config.json that vLLM's, SGLang's and transformers' own code reads, beside those that this project reads.

    python -m tests.oracles.config_keys --vllm DIR --sglang DIR --transformers DIR [--write]

Each DIR is a package's folder as its wheel has it; the code is read (ast), never run. A key that an engine reads where
it decides on lengths, dtypes, layers, caches or quantizations, and that is read nowhere here, needs a decision in
tests/oracles/config_keys.json: without one the check fails. --write renders docs/config-keys.md.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import inspector
from inspector.model.packing.registry import NOT_KNOWN, NOT_STORED, ONLINE, packing_of

HERE = Path(__file__).parent
DECISIONS = HERE / "config_keys.json"
DOCUMENT = HERE.parent.parent / "docs/config-keys.md"

FILES: Mapping[str, tuple[str, ...]] = {
    "vllm": (
        "config/model.py",
        "config/model_arch.py",
        "config/cache.py",
        "config/mamba.py",
        "config/speculative.py",
        "config/vllm.py",
        "transformers_utils/config.py",
        "transformers_utils/model_arch_config_convertor.py",
        "transformers_utils/configs/mistral.py",
        "transformers_utils/deepseek_v4_utils.py",
        "model_executor/models/config.py",
        "model_executor/layers/quantization/**/*.py",
        "model_executor/layers/mamba/mamba_utils.py",
        "model_executor/models/transformers/*.py",
        "v1/core/kv_cache*.py",
        "v1/kv_cache_interface.py",
        "v1/worker/gpu_model_runner.py",
        "v1/worker/gpu/model_runner.py",
    ),
    "sglang": (
        "srt/configs/model_config.py",
        "srt/configs/update_config.py",
        "srt/configs/hybrid_arch.py",
        "srt/configs/mamba_utils.py",
        "srt/configs/modelopt_config.py",
        "srt/utils/hf_transformers/*.py",
        "srt/mem_cache/kv_cache*.py",
        "srt/model_executor/model_runner.py",
        "srt/model_executor/pool_configurator.py",
        "srt/model_executor/model_runner_components/*.py",
        "srt/layers/quantization/**/*.py",
        "srt/server_args.py",
    ),
    "transformers": (
        "cache_utils.py",
        "configuration_utils.py",
        "masking_utils.py",
        "modeling_rope_utils.py",
        "quantizers/*.py",
        "utils/quantization_config.py",
    ),
}
"""Where each decides on lengths, dtypes, layers, caches and quantizations."""

CONFIG = re.compile(r"^_?(model_|draft_|target_)?(hf_|hf_text_|text_|thinker_|llm_|root_)(config|cfg|config_dict)$")
"""Names of what holds a checkpoint's config; an engine's own settings have others (cache_config, vllm_config)."""
PLAIN = re.compile(r"^(config|config_dict|hf_config_dict)$")
"""Names that stand for a checkpoint's config in some files, and for an engine's own in others."""
PLAIN_IN = re.compile(
    r"transformers_utils/|hf_transformers/|models/|^(cache_utils|configuration_|masking_|modeling_rope)"
)
RECIPE = re.compile(r"^_?(hf_)?(quant(ization)?_)?(config|cfg|config_dict)$")
"""Names of a recipe of quantization, as a dict: in the quantizations' own code."""
RECIPE_IN = re.compile(r"(^|/)(quantization|quantizers)/|quantization_config\.py$")
OF_DICTS = frozenset(dir(dict)) | {"to_dict", "from_dict", "to_diff_dict", "get_text_config", "setter"}
ROPE = re.compile(r"(^|[._])rope_(parameters|scaling)(_dict)?$")
LISTS = re.compile(r"keys|names|aliases|attrs|fields", re.IGNORECASE)
KEY = re.compile(r"[a-z_][A-Za-z0-9_]*")
OURS = ("hub/formats", "model", "engines", "memory")


class Reader:
    """Finds the keys that one file asks a config for."""

    def __init__(self, path: str) -> None:
        self.recipes = bool(RECIPE_IN.search(path))
        self.plain = bool(PLAIN_IN.search(path))

    def keys(self, tree: ast.AST) -> Iterator[str]:
        """Attributes, getattr, get, [], in; and lists of names for these."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not self.recipes and self._is_config(node.value):
                yield from () if node.attr in OF_DICTS else (node.attr,)
            elif isinstance(node, ast.Subscript) and self._is_config(node.value):
                yield from _texts(node.slice)
            elif isinstance(node, ast.Compare) and any(self._is_config(side) for side in node.comparators):
                yield from _texts(node.left)
            elif isinstance(node, ast.Call):
                yield from self._of_call(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and not self.recipes:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(LISTS.search(ast.unparse(target)) for target in targets):
                    for inner in ast.walk(node.value):
                        if isinstance(inner, (ast.List, ast.Tuple)):
                            yield from (text for item in inner.elts for text in _texts(item))

    def _of_call(self, node: ast.Call) -> Iterator[str]:
        name = ast.unparse(node.func)
        if name in ("getattr", "hasattr", "getattr_iter"):
            if len(node.args) > 1 and not self.recipes and self._is_config(node.args[0]):
                yield from _texts(node.args[1])
        elif name.endswith(("get_from_keys", "get_from_keys_or")) and len(node.args) > 1:
            yield from _texts(node.args[1])
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop", "setdefault"):
            yield from _texts(node.args[0]) if node.args and self._is_config(node.func.value) else ()

    def _is_config(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Call):  # config.get_text_config().x
            return isinstance(node.func, ast.Attribute) and node.func.attr == "get_text_config"
        if not isinstance(node, (ast.Name, ast.Attribute)):
            return False
        last = ast.unparse(node).rpartition(".")[2]
        recipe = self.recipes and RECIPE.match(last)
        return bool(CONFIG.match(last) or ROPE.search(last) or recipe or (self.plain and PLAIN.match(last)))


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value):
        yield node.value
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        for item in node.elts:
            yield from _texts(item)


def keys_of(package: Path, patterns: tuple[str, ...]) -> dict[str, set[str]]:
    """Key -> the files of a package that read it."""
    found: dict[str, set[str]] = defaultdict(set)
    for pattern in patterns:
        files = sorted(package.glob(pattern))
        if not files:
            print(f"{package.name}: no {pattern} in this release", file=sys.stderr)
        for file in files:
            tree = ast.parse(file.read_text("utf-8"))
            methods = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
            path = file.relative_to(package).as_posix()
            for key in Reader(path).keys(tree):
                if key not in methods and not key.startswith("_"):
                    found[key].add(path)
    return found


def our_keys() -> set[str]:
    """Every name that stands as text in the code that reads configs here, and the classes' own names for them."""
    package = Path(inspector.__file__).parent
    found: set[str] = set()
    for folder in OURS:
        for file in package.joinpath(folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update(re.findall(KEY, node.value) if " " in node.value else [node.value])
    for entry in json.loads((package / "data/configs.json").read_text("utf-8"))["types"].values():
        for names in entry.get("names", {}).values():
            found.update(names)
        found.update(entry.get("decisive", ()))
        found.update(entry.get("refused", ()))
    return found


def decided(decisions: Mapping[str, str]) -> dict[re.Pattern[str], str]:
    return {re.compile(pattern): why for pattern, why in decisions.items()}


def methods_of(packages: Mapping[str, Path]) -> dict[str, set[str]]:
    """Engine -> the names of quantizations that it registers."""
    places = {
        "vllm": ("model_executor/layers/quantization/__init__.py", ("QuantizationMethods",)),
        "sglang": ("srt/layers/quantization/__init__.py", ("BASE_QUANTIZATION_METHODS",)),
        "transformers": ("quantizers/auto.py", ("AUTO_QUANTIZER_MAPPING", "AUTO_QUANTIZATION_CONFIG_MAPPING")),
    }
    found: dict[str, set[str]] = {}
    for engine, package in packages.items():
        path, names = places[engine]
        for node in ast.walk(ast.parse(package.joinpath(path).read_text("utf-8"))):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if not isinstance(node, (ast.Assign, ast.AnnAssign)) or getattr(target, "id", None) not in names:
                continue
            value = node.value
            texts = value.keys if isinstance(value, ast.Dict) else list(ast.walk(value)) if value is not None else []
            own = {each.value for each in texts if isinstance(each, ast.Constant) and isinstance(each.value, str)}
            found.setdefault(engine, set()).update(own)
    return found


def unknown_methods(packages: Mapping[str, Path]) -> list[str]:
    """Names of quantizations that are neither a packing here nor named as none."""
    named = {name for names in ONLINE.values() for name in names.split()} | NOT_STORED.keys() | NOT_KNOWN.keys()
    return sorted(
        f"{engine}: {name}"
        for engine, names in methods_of(packages).items()
        for name in names
        if name not in named and packing_of(name) is None
    )


def release_of(package: Path) -> str:
    """The version that a package's metadata beside it names, else what it is called."""
    for folder in package.parent.glob(f"{package.name}-*.dist-info"):
        return folder.name.removeprefix(f"{package.name}-").removesuffix(".dist-info")
    return "of an unknown release"


def rendered(releases: Mapping[str, str], read: Mapping[str, set[str]], why: Mapping[str, str | None]) -> str:
    """docs/config-keys.md.

    Args:
        read: key -> the engines that read it.
        why: key -> the decision on it, of those that are read nowhere here.
    """
    names = ", ".join(f"{engine} {release}" for engine, release in releases.items())
    lines = [
        "# Keys of config.json",
        "",
        "What vLLM, SGLang and transformers ask a checkpoint's config for where they decide on lengths, dtypes,",
        "layers, caches and quantizations, and what is done with it here. `make oracle-keys` reads their code, writes",
        "this page, and fails at a key on which nothing is decided. Decisions: tests/oracles/config_keys.json.",
        "",
        f"{names}: {len(read):,} keys.",
        "",
        f"## Read here: {len(read) - len(why):,}",
        "",
        ", ".join(f"`{key}`" for key in sorted(read.keys() - why.keys())),
        "",
        f"## Read there alone: {len(why):,}",
        "",
        "| why no number follows from it | keys |",
        "|---|---|",
    ]
    reasons: dict[str, list[str]] = defaultdict(list)
    for key, reason in sorted(why.items()):
        reasons[reason or "nothing is decided"].append(f"`{key}`")
    lines += [f"| {reason} | {', '.join(keys)} |" for reason, keys in sorted(reasons.items())]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for engine in FILES:
        parser.add_argument(f"--{engine}", type=Path)
    parser.add_argument("--write", action="store_true")
    options = vars(parser.parse_args())
    packages = {engine: options[engine] for engine in FILES if options[engine] is not None}
    readers: dict[str, set[str]] = defaultdict(set)
    for engine, package in packages.items():
        for key in keys_of(package, FILES[engine]):
            readers[key].add(engine)
    ours, patterns = our_keys(), decided(json.loads(DECISIONS.read_text("utf-8")))
    decisions = {
        key: next((why for pattern, why in patterns.items() if pattern.fullmatch(key)), None)
        for key in readers.keys() - ours
    }
    open_keys = sorted(key for key, why in decisions.items() if why is None)
    methods = unknown_methods(packages)
    print(f"{len(readers)} keys: {len(readers.keys() & ours)} read here, {len(decisions) - len(open_keys)} decided on")
    for key in open_keys:
        print(f"undecided: {key} ({', '.join(sorted(readers[key]))})")
    for method in methods:
        print(f"no packing: {method}")
    unused = [pattern.pattern for pattern in patterns if not any(pattern.fullmatch(key) for key in readers)]
    for pattern in unused:
        print(f"a decision on a key that nobody reads: {pattern}")
    if options["write"]:
        releases = {engine: release_of(package) for engine, package in packages.items()}
        DOCUMENT.write_text(rendered(releases, readers, decisions), "utf-8")
    return int(bool(open_keys or methods))


if __name__ == "__main__":
    sys.exit(main())
