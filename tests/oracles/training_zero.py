"""What DeepSpeed's ZeRO holds on each of two processes of the CPU that talk over gloo.

    python -m tests.oracles.training_zero --out tests/memory/training/zero_measured.json

Needs torch, transformers and DeepSpeed 0.19 (DS_BUILD_OPS=0). A small Llama in bf16 trains two steps under each of
`CASES`; every tensor that is made is counted from there until its storage is gone. Prints a row a case, of the first
process: bytes before the step, at the most within forward and backward pass and optimizer's step, and after the forward
pass; and the parameters that are gathered then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
import deepspeed.comm.torch
import torch
import torch.distributed
import torch.multiprocessing
from transformers import LlamaConfig, LlamaForCausalLM

from tests.oracles.live import Live
from tests.oracles.training_ranks import CONFIG

ALONE = {
    "stage": 3,
    "reduce_bucket_size": 10000,
    "stage3_prefetch_bucket_size": 0,
    "stage3_param_persistence_threshold": 0,
    "stage3_max_reuse_distance": 0,
}
"""Stage 3 with as little beside the shares as there can be."""
CASES: dict[str, dict[str, Any]] = {
    "stage 1": {"stage": 1, "reduce_bucket_size": 10000},
    "stage 2": {"stage": 2, "reduce_bucket_size": 100000},
    "stage 2, overlap": {"stage": 2, "reduce_bucket_size": 100000, "overlap_comm": True},
    "stage 2, accumulated": {"stage": 2, "reduce_bucket_size": 100000, "microbatches": 2},
    "stage 3": ALONE,
    "stage 3, bucket": ALONE | {"reduce_bucket_size": 40000},
    "stage 3, persistence": ALONE | {"stage3_param_persistence_threshold": 1000},
    "stage 3, reuse": ALONE | {"stage3_max_reuse_distance": 100000},
    "stage 3, far reuse": ALONE | {"stage3_max_reuse_distance": 1000000},
    "stage 3, prefetch": ALONE | {"stage3_prefetch_bucket_size": 20000, "stage3_max_live_parameters": 60000},
    "stage 3, sub-group": ALONE | {"sub_group_size": 20000},
    "stage 3, loop": ALONE | {"foreach": False},
}


def _run(rank: int, folder: str, port: int, case: dict[str, Any]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]  # compiles C++
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    sizes = dict(case)
    microbatches, foreach = sizes.pop("microbatches", 1), sizes.pop("foreach", True)
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": microbatches,
        "bf16": {"enabled": True},
        "zero_optimization": sizes,
        "zero_force_ds_cpu_optimizer": False,
    }
    ids = torch.arange(32).reshape(2, 16)
    torch.manual_seed(0)
    with Live() as live:
        whole = deepspeed.zero.Init(config_dict_or_path=config) if sizes["stage"] == 3 else contextlib.nullcontext()
        with whole:
            model = LlamaForCausalLM(LlamaConfig(**CONFIG, use_cache=False)).train()
        count = sum(getattr(each, "ds_numel", each.numel()) for each in model.parameters())
        optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach, fused=False)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        row: dict[str, int] = {}
        for _ in range(2):
            for _ in range(microbatches):
                row = {"parameters": count, "before": live.bytes}
                live.most()
                loss = engine(input_ids=ids, labels=ids).loss
                row |= {"forward": live.most(), "kept": live.bytes}
                row["gathered"] = sum(each.numel() for each in engine.module.parameters())
                engine.backward(loss)
                del loss
                row["backward"] = live.most()
                engine.step()
                row |= {"step": live.most(), "after": live.bytes}
    torch.distributed.destroy_process_group()
    if rank == 0:
        (Path(folder) / "row.json").write_text(json.dumps(row))


def main() -> None:
    """Measure all cases, and only then write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the rows; default: standard output")
    options = parser.parse_args()
    found: dict[str, Any] = {"deepspeed": deepspeed.__version__, "torch": torch.__version__.partition("+")[0]}
    for name, case in CASES.items():
        with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            free.close()
            torch.multiprocessing.spawn(_run, (folder, port, case), nprocs=2)
            found[name] = {"case": case} | json.loads((Path(folder) / "row.json").read_text())
        print(f"{name}: {found[name]['backward']:,} B in the backward pass", file=sys.stderr, flush=True)
    text = json.dumps(found, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, "utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
