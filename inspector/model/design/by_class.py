"""The tensors of a design by its class itself: the installed transformers' own code builds it, on a torch of shapes.

A process of its own does it (inspector/measure/worker.py): a second to start, milliseconds a model. No
torch, no weights, no network, no code of a repo.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Held, Tensor
from inspector.model.design.full import one_line

SECONDS = 30
"""After which a class is not waited for any more: DeepSeek-V3 takes a tenth of it, its start a fifteenth."""

START = "import sys; sys.path[:] = sys.argv[1:]; from inspector.measure.worker import main; sys.exit(main())"
"""Of the process: this one's path and no other, as the folder that one stands in may be a repo's."""
ENVIRONMENT = ("PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "TMPDIR", "TEMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What it has of the environment: nothing that may be secret."""


class Asked(NamedTuple):
    """What a class said.

    Attributes:
        tensors: that it writes, in 32 bits but for what always has another dtype; None where it said none.
        held: which of them are parameters, and how many the class has.
        model_type: that it read the config as.
        error: why it said none.
        refused: the class itself takes no such config; else it could not be built here.
        unclear: whether the class takes it.
    """

    tensors: tuple[Tensor, ...] | None
    held: Held | None = None
    model_type: str = ""
    error: str = ""
    refused: bool = False
    unclear: bool = False


def ask_class(class_name: str, config: Mapping[str, Any]) -> Asked:
    """The tensors that a class writes with a config.

    Args:
        class_name: one of the installed transformers'.
        config: as config.json has it.
    """
    try:
        return _asked(json.dumps({"class": class_name, "config": dict(config)}))
    except Unanswered as error:
        return Asked(None, error=str(error))


class Unanswered(Exception):
    """The process did not answer: it may the next time, so this is not kept."""


@lru_cache(maxsize=8)
def _asked(question: str) -> Asked:
    answer = WORKER.answer(question)
    if "error" in answer:
        return Asked(None, error=one_line(answer["error"]), refused=answer["refused"], unclear=answer["unclear"])
    held = Held(frozenset(answer["buffers"]), answer["unsaved"], answer["parameters"])
    return Asked(tuple(decode_tensors(answer["rows"])), held, answer["type"])


class Worker:
    """The process: started by the first question, for one question at a time, and ended with this process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """As at first: in a fork, whose process it is not."""
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._one = threading.Lock()

    def answer(self, question: str) -> dict[str, Any]:
        """One line's answer.

        Raises:
            Unanswered: it took too long, or the process ended.
        """
        with self._one:
            try:
                process = self._process if self._process and self._process.poll() is None else self._begin()
                assert process.stdin is not None
                process.stdin.write(question + "\n")
                process.stdin.flush()
                line = self._answers.get(timeout=SECONDS)
                if not line:
                    raise EOFError
                answer: dict[str, Any] = json.loads(line)
                return answer
            except queue.Empty:
                self.end()
                raise Unanswered(f"it took more than {SECONDS} seconds") from None
            except (OSError, EOFError, ValueError) as error:
                self.end()
                raise Unanswered(f"its process ended {error}".strip()) from None
            except BaseException:  # Ctrl-C: the answer that is still to come is to no later question
                self.end()
                raise

    def _begin(self) -> subprocess.Popen[str]:
        self.end()
        path = [each for each in sys.path if each]
        environ = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", START, *path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=environ | {"HF_HUB_OFFLINE": "1", "OPENBLAS_NUM_THREADS": "1"},
            cwd=Path(__file__).parent,
            start_new_session=True,
        )
        self._answers = queue.Queue()
        threading.Thread(target=self._read, args=(process, self._answers), daemon=True).start()
        return process

    @staticmethod
    def _read(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                answers.put(line)
        answers.put("")

    def end(self) -> None:
        """Ends the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()


WORKER = Worker()
atexit.register(WORKER.end)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKER.forget)
