"""What a request takes of vLLM's pool where a draft model's layers lie in it, too, by its own planner.

    ORACLE/bin/python tests/oracles/vllm/drafts.py CONFIGS OUT.json

CONFIGS is a folder of folders (python -m tests.oracles.adapters configs). OUT gets "model draft" -> bytes of a request
of `TOKENS` tokens, for the pairs of `PAIRS`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import facts

TOKENS = 4096
PAIRS = (
    ("Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"),
    ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-1B"),
    ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-3B"),
    ("google/gemma-2-9b", "google/gemma-2-2b"),
)


def specs_of(folder: Path) -> tuple[Any, dict[str, Any]]:
    """A model's configuration, and the spec of each of its layers."""
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    given = {"model": str(folder), "tokenizer": str(folder), "skip_tokenizer_init": True, "enforce_eager": True}
    whole = EngineArgs(**given, max_model_len=TOKENS).create_engine_config(UsageContext.OPENAI_API_SERVER)
    with set_current_vllm_config(whole):
        facts.build(whole)
        current_platform.update_block_size_for_backend(whole)
        register_all_kvcache_specs(whole)
        return whole, get_kv_cache_spec(whole)


def need(model: Path, draft: Path) -> int:
    """Bytes of one request over the layers of both."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import parallel_state

    whole, layers = specs_of(model)
    parallel_state.init_distributed_environment = lambda *_: None
    parallel_state.initialize_model_parallel = lambda *_: None
    _, drafted = specs_of(draft)
    with set_current_vllm_config(whole):
        return facts.request_need(whole, layers | {f"draft.{name}": spec for name, spec in drafted.items()})


def main() -> None:
    configs, out = map(Path, sys.argv[1:3])
    facts.prepare()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for pair in PAIRS:
            answer = Path(scratch) / "answer"
            process = os.fork()
            if not process:
                folders = [configs / name.replace("/", "--") for name in pair]
                answer.write_text(str(need(*folders)), "utf-8")
                os._exit(0)
            os.waitpid(process, 0)
            found[" ".join(pair)] = int(answer.read_text("utf-8"))
    out.write_text(json.dumps(found, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
