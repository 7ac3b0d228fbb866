"""The real vLLM on the default model: once with our plugin in it, once plain behind `redraft serve --engine-url`.

One engine at a time. Each server runs in its own process group and is ended with it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import REDRAFT, VLLM_MODULE, free_port, running
from redraft import home
from server.engine.entry import DEFAULT_MODEL_TOOLS
from server.model import ensure_default_model

OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}


@dataclass(frozen=True)
class Server:
    """`url` is what a user talks to; `engine_url` is where vLLM's own series are."""

    url: str
    engine_url: str
    model: str
    log: Path

    @property
    def keys_file(self) -> Path:
        """Its own, so that keys of whoever runs the tests do not shut it."""
        return keys_beside(self.log)

    def client(self, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=120, **more)

    async def series(self, name: str) -> float:
        """Sum of a series of vLLM's over its labels."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            text = (await client.get(f"{self.engine_url}/metrics")).text
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def keys_beside(log: Path) -> Path:
    return log.with_suffix(".keys.sqlite")


@pytest.fixture(scope="session")
def model() -> Path:
    return ensure_default_model()


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two LoRA adapters in PEFT's form whose answers plainly differ from the base model's and from each other."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    hidden, kv = config["hidden_size"], config["num_key_value_heads"] * config["hidden_size"] // config["num_attention_heads"]
    found = {}
    for seed, name in enumerate(("tiny", "other")):
        torch.manual_seed(seed)
        weights = {}
        for layer in range(config["num_hidden_layers"]):
            for module, out in (("q_proj", hidden), ("v_proj", kv)):
                key = f"base_model.model.model.layers.{layer}.self_attn.{module}"
                weights[f"{key}.lora_A.weight"] = torch.randn(8, hidden) * 0.12
                weights[f"{key}.lora_B.weight"] = torch.randn(out, 8) * 0.12
        directory = tmp_path_factory.mktemp("adapters") / name
        directory.mkdir()
        save_file(weights, directory / "adapter_model.safetensors")
        peft = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
        peft |= {"base_model_name_or_path": str(model), "bias": "none", "lora_dropout": 0.0, "use_rslora": False, "use_dora": False}
        (directory / "adapter_config.json").write_text(json.dumps(peft), encoding="utf-8")
        found[name] = directory
    return found


@contextmanager
def with_plugin(logs: Path, adapters: dict[str, Path]) -> Iterator[Server]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", logs / "redraft.log"
    loras = [f"{name}={path}" for name, path in adapters.items()]
    command = [str(REDRAFT), "serve", "--port", str(port), "--lora-modules", *loras]
    env = OFFLINE | {"REDRAFT_GUARD__KEYS_FILE": str(keys_beside(log))}
    with running(command, health=f"{url}/health/ready", log=log, env=env):
        yield Server(url, url, home.DEFAULT_MODEL, log)


@contextmanager
def plain_vllm(logs: Path, model: Path, flags: Sequence[str] = ()) -> Iterator[Server]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", logs / f"vllm-{port}.log"
    command = [
        sys.executable,
        "-m",
        VLLM_MODULE,
        "--model",
        str(model),
        "--served-model-name",
        home.DEFAULT_MODEL,
        "--enforce-eager",
        "--dtype",
        "bfloat16",
    ]
    with running([*command, "--port", str(port), *flags], health=f"{url}/health", log=log, env={**OFFLINE, "VLLM_PLUGINS": ""}):
        yield Server(url, url, home.DEFAULT_MODEL, log)


@contextmanager
def in_front(logs: Path, engine: Server) -> Iterator[Server]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", logs / "front.log"
    command = [str(REDRAFT), "serve", "--engine-url", engine.url, "--port", str(port)]
    with running(command, health=f"{url}/health/ready", log=log, env={"REDRAFT_GUARD__KEYS_FILE": str(keys_beside(log))}):
        yield Server(url, engine.url, engine.model, log)


@pytest.fixture(scope="session", params=["plugin", "engine-url"])
def served(request: pytest.FixtureRequest, logs: Path, model: Path, adapters: dict[str, Path]) -> Iterator[Server]:
    """The same suite runs against vLLM with our plugin, and against plain vLLM with us in front."""
    with ExitStack() as stack:
        if request.param == "plugin":
            yield stack.enter_context(with_plugin(logs, adapters))
        else:
            loras = ["--enable-lora", "--max-lora-rank", "64", "--lora-modules", *(f"{name}={path}" for name, path in adapters.items())]
            engine = stack.enter_context(plain_vllm(logs, model, ["--enable-prompt-tokens-details", *DEFAULT_MODEL_TOOLS, *loras]))
            yield stack.enter_context(in_front(logs, engine))
