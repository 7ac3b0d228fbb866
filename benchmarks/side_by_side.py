"""`redraft serve` and vLLM's own offline engine with the same flags, both up: whoever is not measured is stopped (SIGSTOP)."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.offline_chat import OfflineChat, offline_chat
from benchmarks.servers import REDRAFT, Running, free_port, running
from redraft import home
from server.config import ServeSettings
from server.engine import machine
from server.engine.entry import is_cpu

COUNTED = re.compile(r"^vllm:(prompt|generation)_tokens_total\{[^}]*\} ([\d.e+]+)$", re.MULTILINE)


def engine_tokens(url: str) -> dict[str, int]:
    """Tokens so far of prompts (`prompt`) and generated ones (`generation`), as the server's engine counts them."""
    found = COUNTED.findall(httpx.get(f"{url}/metrics/", timeout=60, trust_env=False, follow_redirects=True).text)
    return {kind: int(sum(float(value) for name, value in found if name == kind)) for kind in ("prompt", "generation")}


@dataclass(frozen=True)
class Served:
    """The server, and what it says of itself."""

    process: Running
    url: str

    def generated(self) -> int:
        return engine_tokens(self.url)["generation"]

    def model(self) -> str:
        name: str = httpx.get(f"{self.url}/v1/models", timeout=60, trust_env=False).json()["data"][0]["id"]
        return name


def command_flags(engine: dict[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in engine.items():
        flag = name.replace("_", "-")
        flags += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return flags


def both(stack: ExitStack, work: Path, given: Path | None, engine: dict[str, Any]) -> tuple[OfflineChat, Served]:
    """The two, stopped. `given` is a local model (None: the embedded one), `engine` vLLM's arguments for both."""
    cpu, model = is_cpu(ServeSettings()), str(given or home.default_model_dir())
    env = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "VLLM_PLUGINS": "redraft_engine", "HF_HUB_OFFLINE": "1"}
    env |= {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", **(machine.environment() if cpu else {})}
    dtype = {"dtype": machine.dtype(model), "enforce_eager": True} if cpu else {}
    offline = stack.enter_context(offline_chat({"model": model, **engine, **dtype}, work / "offline.log", env))
    port = free_port()
    command = [str(REDRAFT), "serve", *([model] if given else []), "--port", str(port), *command_flags(engine)]
    url = f"http://127.0.0.1:{port}"
    served = Served(stack.enter_context(running(command, health=f"{url}/health/ready", log=work / "serve.log")), url)
    offline.wait()
    for one in (offline, served.process):
        one.signal(signal.SIGSTOP)
    return offline, served
