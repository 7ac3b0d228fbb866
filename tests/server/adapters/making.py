"""Adapters made by hand for a tiny model, and an engine that only remembers what it was told."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redraft.home import sha256
from server.adapters.admission import Gate, Rules
from server.adapters.base import Base, digest
from server.adapters.errors import Check, Refused
from server.adapters.hub import Hub
from server.adapters.ledger import Ledger
from server.adapters.registry import Observer, Registry
from server.adapters.slots import Slots
from server.adapters.store import CONFIG, MANIFEST, WEIGHTS, Store, content_sha256

MODEL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "vocab_size": 100,
}
PEFT: dict[str, Any] = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "bias": "none",
    "auto_mapping": None, "loftq_config": {}, "modules_to_save": None,
}  # fmt: skip
Q, V = "base_model.model.model.layers.0.self_attn.q_proj", "base_model.model.model.layers.1.self_attn.v_proj"


def weights(value: float = 1.0, rank: int = 2) -> dict[str, tuple[list[int], list[float]]]:
    """Tensor name -> (shape, numbers)."""
    return {
        f"{Q}.lora_A.weight": ([rank, 8], [value] * rank * 8),
        f"{Q}.lora_B.weight": ([8, rank], [value] * rank * 8),
        f"{V}.lora_A.weight": ([rank, 8], [value] * rank * 8),
        f"{V}.lora_B.weight": ([4, rank], [value] * rank * 4),
    }


def save(path: Path, tensors: Mapping[str, tuple[list[int], list[float]]], kind: str = "F32") -> None:
    header, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        raw = struct.pack(f"<{len(numbers)}f", *numbers)
        if kind == "BF16":
            raw = b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def adapter(folder: Path, value: float = 1.0, *, config: Mapping[str, Any] = PEFT, tensors: Any = None, kind: str = "F32") -> Path:
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    save(folder / WEIGHTS, weights(value) if tensors is None else tensors, kind)
    return folder


def with_manifest(folder: Path, **changes: Any) -> Path:
    manifest = {"schema": 1, "name": folder.name, "method": "cft", "base": {"model": "tiny"}, "content_sha256": content_sha256(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest | changes), encoding="utf-8")
    return folder


def base_model(folder: Path) -> dict[str, str]:
    """A base model's files -> what a manifest says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(MODEL), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    shards = {"model.safetensors": sha256(folder / "model.safetensors")}
    return {"model": "tiny", "config_sha256": sha256(folder / "config.json"), "weights_sha256": digest(shards)}


class ScriptedHost:
    """An engine of `slots` adapters. It reads the files when it loads them and keeps every rule by refusing to go on when one is broken."""

    def __init__(self, slots: int = 3) -> None:
        self.slots = slots
        self.loaded: dict[str, bytes] = {}
        self.working: dict[str, int] = {}
        """Requests that the engine has beyond those that hold a lease."""
        self.refuse: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.story: list[str] = []

    async def load(self, name: str, path: Path) -> None:
        await self.gate.wait()
        assert name not in self.loaded, f"{name} would be loaded in place"
        assert len(self.loaded) < self.slots, f"{name} is one more than the engine holds"
        if self.refuse is not None:
            raise Refused(Check.LOAD, self.refuse)
        self.loaded[name] = (path / WEIGHTS).read_bytes()
        self.story.append(f"load {name}")

    async def unload(self, name: str) -> None:
        assert not self.working.get(name), f"{name} is unloaded under a request"
        del self.loaded[name]
        self.story.append(f"unload {name}")

    def in_flight(self, name: str) -> int:
        return self.working.get(name, 0)


class Counted:
    """An Observer."""

    def __init__(self) -> None:
        self.swaps: list[str] = []
        self.refusals: list[str] = []

    def adapter_swap(self, result: str, seconds: float) -> None:
        self.swaps.append(result)

    def adapter_refused(self, check: str) -> None:
        self.refusals.append(check)


class Home:
    """One server's folders: sources in `inbox`, copies and state beside it. `registry()` is a server that starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = root / "in"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.identity = base_model(root / "base")
        self.store = Store(root / "store")
        self.counted = Counted()

    def gate(
        self,
        *,
        max_rank: int = 8,
        max_bytes: int = 1 << 20,
        require_manifest: bool = False,
        config: Any = None,
        no_activation: str | None = None,
        hub: Sequence[str] = (),
    ) -> Gate:
        folder = self.root / "base"
        base = Base(["tiny", "static"], config or MODEL, max_rank=max_rank, folder=folder, no_activation=no_activation)
        fetched = Hub(self.root / "hub", allowed=hub, max_bytes=max_bytes)
        return Gate(base, self.store, Rules((self.inbox,), max_bytes, require_manifest), fetched)

    def registry(self, host: ScriptedHost, *, wait_s: float = 5.0, observer: Observer | None = None, **rules: Any) -> Registry:
        self.store = Store(self.root / "store")
        slots, ledger = Slots(host, self.store, wait_s=wait_s), Ledger(self.root / "state.sqlite")
        return Registry(slots, self.gate(**rules), ledger, observer or self.counted)

    def adapter(self, name: str, value: float, **more: Any) -> str:
        return str(adapter(self.inbox / name, value, **more))


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds. The test's own time limit ends what never does."""
    while not condition():
        await asyncio.sleep(0.005)
