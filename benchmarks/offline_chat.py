"""vLLM's own offline `LLM.chat` in a process of its own, asked over a pipe. What a benchmark compares a served engine with.

The process leads its own process group, so that it and the engine it starts can be stopped and continued as one.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import psutil

START_S = 600.0
END_S = 20.0


@dataclass(frozen=True)
class Ask:
    """Chats to answer, the first by the first of `adapters` and so on, over and over."""

    chats: tuple[tuple[Any, ...], ...]
    tokens: int | tuple[int, ...]
    """Exactly so many tokens each, or each its own number."""
    adapters: tuple[Path | None, ...] = (None,)
    """Folders of LoRA adapters; None is the base model."""
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Told:
    tokens: int
    seconds: float


class OfflineChat:
    def __init__(self, process: multiprocessing.process.BaseProcess, pipe: Connection, log: Path) -> None:
        self._process, self._pipe, self._log = process, pipe, log

    def wait(self) -> None:
        """Until the engine is loaded."""
        self._receive(START_S)

    def chat(self, ask: Ask) -> Told:
        self._pipe.send(ask)
        return cast(Told, self._receive(None))

    def signal(self, kind: signal.Signals) -> None:
        assert self._process.pid is not None
        os.killpg(self._process.pid, kind)

    def memory(self) -> int:
        """Resident bytes of the process and all it started."""
        process = psutil.Process(self._process.pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))

    def _receive(self, seconds: float | None) -> object:
        """What the process says next. Raises RuntimeError with the end of its log when it says nothing more."""
        try:
            if seconds is None or self._pipe.poll(seconds):
                return self._pipe.recv()
        except EOFError:
            pass
        raise RuntimeError(f"the offline engine stopped or is not ready, see {self._log}; it ends:\n{self._log.read_text()[-2000:]}")


@contextmanager
def offline_chat(engine: dict[str, Any], log: Path, env: dict[str, str]) -> Iterator[OfflineChat]:
    """An `LLM(**engine)` that begins to load: `wait` for it. It ends with all it started when the context is left."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_work, args=(theirs, engine, str(log), env))
    process.start()
    theirs.close()
    offline = OfflineChat(process, ours, log)
    try:
        yield offline
    finally:
        ours.close()
        with suppress(ProcessLookupError):
            offline.signal(signal.SIGCONT)
            process.join(END_S)
            offline.signal(signal.SIGKILL)
        process.join()


def _work(pipe: Connection, engine: dict[str, Any], log: str, env: dict[str, str]) -> None:
    os.setsid()
    with Path(log).open("wb") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
        os.dup2(out.fileno(), sys.stderr.fileno())
    os.environ.update(env)
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    llm = LLM(**engine)
    loras: dict[Path, Any] = {}
    pipe.send("ready")
    while True:
        try:
            ask: Ask = pipe.recv()
        except EOFError:
            return
        lengths = (ask.tokens,) * len(ask.chats) if isinstance(ask.tokens, int) else ask.tokens
        sampling = [SamplingParams(temperature=ask.temperature, top_p=ask.top_p, max_tokens=length, ignore_eos=True) for length in lengths]
        for path in filter(None, ask.adapters):
            loras.setdefault(path, LoRARequest(path.name, len(loras) + 1, str(path)))
        wearing = [None if path is None else loras[path] for path, _ in zip(itertools.cycle(ask.adapters), ask.chats, strict=False)]
        started = time.perf_counter()
        outputs = llm.chat([list(chat) for chat in ask.chats], sampling, lora_request=wearing if loras else None, use_tqdm=False)
        seconds = time.perf_counter() - started
        pipe.send(Told(sum(len(output.outputs[0].token_ids) for output in outputs), seconds))
