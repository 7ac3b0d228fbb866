"""optillm as a contender: its proxy, in a virtual environment of its own, in front of any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.servers import free_port, running

IMPORTED = "flask openai cerebras_cloud_sdk networkx numpy scikit-learn z3-solver<=4.15.4.0 tiktoken aiohttp requests pyyaml math-verify"
OPTILLM = Peer("optillm", "0.4.0", "optillm", (["--no-deps", "optillm==0.4.0"], IMPORTED.split()))
"""What its proxy imports for the approaches named here; torch, which it wants for its own local inference, is left out."""
APPROACHES = ("self_consistency", "bon", "moa", "mars")


@contextmanager
def proxy(command: Path, upstream: str, model: str, log: Path) -> Iterator[str]:
    """The address of a proxy for the server at `upstream`."""
    port = free_port()
    line = [str(command), "--base-url", f"{upstream}/v1", "--model", model, "--port", str(port), "--log", "error"]
    env = {"OPENAI_API_KEY": "none", "OPTILLM_CONVERSATION_LOG_DIR": str(log.parent), "NO_PROXY": "127.0.0.1"}
    with running(line, health=f"http://127.0.0.1:{port}/health", log=log, env=env):
        yield f"http://127.0.0.1:{port}"


def name_of(approach: str, model: str) -> str:
    """The `model` that asks the proxy for an approach."""
    return f"{approach}-{model}"
