"""The engines' own argument parsers, asked by the Python of each engine's environment; nothing of this package is used.

    ENGINE/bin/python tests/oracles/launch_parsers.py NAME SAMPLES.jsonl OUT.json

SAMPLES has a line a command: {"id", "command"}. OUT gets {"version", "options": {option: whether it takes a value},
"read": {id: the settings that the parser read, or {"error": what it said}}}.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [each for each in sys.path if Path(each).resolve() != HERE]  # its folders are named as the engines are


def vllm() -> tuple[str, argparse.ArgumentParser, Callable[[list[str]], list[str]]]:
    """`vllm serve`: make_arg_parser."""
    sys.path.insert(0, str(HERE / "vllm"))
    import stub  # noqa: F401
    import vllm
    from vllm.entrypoints.common.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    return vllm.__version__, make_arg_parser(FlexibleArgumentParser(prog="vllm serve")), lambda command: command[2:]


def sglang() -> tuple[str, argparse.ArgumentParser, Callable[[list[str]], list[str]]]:
    """`sglang.launch_server`: ServerArgs.add_cli_args."""
    sys.path.insert(0, str(HERE / "sglang"))
    import stub

    stub.gpu()
    from importlib.metadata import version

    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser(prog="sglang")
    ServerArgs.add_cli_args(parser)
    return version("sglang"), parser, lambda command: command[3:]


def mlx() -> tuple[str, argparse.ArgumentParser, Callable[[list[str]], list[str]]]:
    """`mlx_lm.server`: the parser that its main makes, caught as it parses."""
    import mlx_lm
    from mlx_lm import server

    class Caught(Exception):
        pass

    def parse_args(self: argparse.ArgumentParser, *_: Any) -> None:
        raise Caught(self)

    real, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, parse_args  # type: ignore[assignment,method-assign]
    try:
        server.main()
    except Caught as caught:
        parser: argparse.ArgumentParser = caught.args[0]
    finally:
        argparse.ArgumentParser.parse_args = real  # type: ignore[method-assign]
    return mlx_lm.__version__, parser, lambda command: command[1:]


def with_argparse(
    make: Callable[[], tuple[str, argparse.ArgumentParser, Callable[[list[str]], list[str]]]],
    samples: list[dict[str, Any]],
) -> dict[str, Any]:
    """What an argparse parser has and reads."""
    version, parser, own = make()
    options = {name: each.nargs != 0 for each in parser._actions for name in each.option_strings}
    read: dict[str, Any] = {}
    for sample in samples:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                found = parser.parse_args(own(sample["command"]))
            read[sample["id"]] = {name: value for name, value in vars(found).items() if not callable(value)}
        except SystemExit:
            read[sample["id"]] = {"error": said.getvalue().strip()[-300:]}
    return {"version": version, "options": options, "read": read}


FIELDS = ("n_ctx", "n_parallel", "n_ubatch", "n_batch", "n_gpu_layers", "kv_unified", "no_mmproj")
SERVER = 12
"""LLAMA_EXAMPLE_SERVER of llama.cpp's common/common.h."""


def llama_cpp(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """`llama-server`: common_params_parse, of which xllamacpp's module exports the symbol; its CommonParams holds the
    structure behind the head of a Python object."""
    import xllamacpp
    from xllamacpp import xllamacpp as module

    parse = ctypes.CDLL(module.__file__)._Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E
    parse.restype = ctypes.c_bool
    types = {getattr(xllamacpp.ggml_type, name): name for name in dir(xllamacpp.ggml_type) if name.startswith("GGML_")}
    read: dict[str, Any] = {}
    for sample in samples:
        parameters = xllamacpp.CommonParams()
        encoded = [each.encode() for each in sample["command"]]
        arguments = (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)
        where = ctypes.c_void_p(id(parameters) + object.__basicsize__)
        if not parse(len(encoded), arguments, where, ctypes.c_int(SERVER), None):
            read[sample["id"]] = {"error": "refused"}
            continue
        found = {name: getattr(parameters, name) for name in FIELDS if hasattr(parameters, name)}
        for name in ("cache_type_k", "cache_type_v"):
            value = getattr(parameters, name)
            found[name] = types.get(value, str(value)).removeprefix("GGML_TYPE_").lower()
        model = parameters.model
        found |= {"model": model.path, "hf_repo": model.hf_repo, "hf_file": model.hf_file}
        read[sample["id"]] = found
    return {"version": xllamacpp.__version__, "options": {}, "read": read}


def main() -> None:
    name, samples_file, out = sys.argv[1:]
    samples = [json.loads(line) for line in Path(samples_file).read_text("utf-8").splitlines()]
    samples = [sample for sample in samples if sample["emit"] == name]
    makers = {"vllm": vllm, "sglang": sglang, "mlx": mlx}
    found = with_argparse(makers[name], samples) if name in makers else llama_cpp(samples)
    Path(out).write_text(json.dumps(found, default=str), "utf-8")


if __name__ == "__main__":
    main()
