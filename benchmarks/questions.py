"""A loaded model's questions: milliseconds of CPU each, median of many, beside the reading that they go without.

Nothing is waited for, so that CPU time is what they take on an idle machine.


python -m benchmarks.questions    (offline: the bundled snapshots)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import inspector
from inspector.hub import Resolver

MODELS = ("meta-llama/Meta-Llama-3-8B", "deepseek-ai/DeepSeek-V3")
LIMITS = {"estimate": (1.0, 3.0), "fit": (3.0, 10.0)}
"""Milliseconds that a question may take: of an 8B, of DeepSeek-V3."""
GPUS = ("RTX 4090", "8xH100")
ENGINES = ("transformers", "vllm")
SECONDS = 1.0
"""Of repeats, for each figure."""


def milliseconds(question: Callable[[int], object]) -> float:
    """The median of as many askings as there is time for, after one that fills the caches. Each gets another number, so
    that no answer is one that was given before."""
    question(0)
    times: list[float] = []
    while sum(times) < SECONDS:
        start = time.process_time()
        question(len(times) + 1)
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def questions(model: inspector.LoadedModel) -> dict[str, Callable[[int], object]]:
    """Each by its name; the number that it gets makes the context another one."""
    found: dict[str, Callable[[int], object]] = {"estimate": lambda n: model.estimate(context=4096 + n)}
    for gpu in GPUS:
        for engine in ENGINES:
            found[f"fit {gpu}, {engine}"] = lambda n, gpu=gpu, engine=engine: model.fit(  # type: ignore[misc]
                gpu, engine=engine, context=4096 + n % 2048
            )
    return found


def main() -> None:
    """Print a line for each question."""
    with Resolver(offline=True) as resolver:
        for index, name in enumerate(MODELS):
            read = milliseconds(lambda _, name=name: inspector.inspect(name, resolver=resolver))  # type: ignore[misc]
            print(f"{name}: read and asked in {read:.2f} ms")
            model = inspector.load(name, resolver=resolver)
            for asked, question in questions(model).items():
                limit = LIMITS[asked.partition(" ")[0]][index]
                print(f"  {asked:26} {milliseconds(question):8.2f} ms, at most {limit:g}")


if __name__ == "__main__":
    main()
