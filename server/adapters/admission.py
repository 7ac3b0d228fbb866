"""From a folder somewhere to an immutable copy of ours, or a refusal that names the check. Nothing is loaded before all checks passed.

The files are copied first and the copy is checked, so what was checked is what is served. Blocking: call it in a thread.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from redraft import calibration
from redraft.errors import BadRequest
from server.adapters import peft, tensors
from server.adapters.base import Base
from server.adapters.errors import Check, Refused, StateFailed
from server.adapters.hub import PLAIN, PREFIX, Hub
from server.adapters.peft import PeftConfig
from server.adapters.store import CONFIG, MANIFEST, WEIGHTS, Store, content_sha256
from server.adapters.tensors import Tensor
from server.config import CalibrationSetting

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
MAX_MANIFEST = 16 << 20
BLOCK = 1 << 20
OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Failures of a copy that are not the source's fault."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What this server admits."""

    roots: tuple[Path, ...]
    """Folders that sources may lie in."""
    max_bytes: int
    require_manifest: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    sha256: str
    path: Path
    """Our copy."""
    manifest: dict[str, Any] | None
    """Name, method and hash of the manifest; None for a plain PEFT folder."""
    calibration: dict[str, float] | None
    """What `redraft calibrate` measured, where it lies beside the weights."""
    activated: bool
    """True for a LoRA that acts from its invocation tokens on."""
    fallback: str | None = None
    """Why this is the plain adapter beside an activated one."""


class Gate:
    """Admits adapters for one base model into one store."""

    def __init__(self, base: Base, store: Store, rules: Rules, hub: Hub) -> None:
        self.base = base
        self.store = store
        self._rules = rules
        self._hub = hub

    def locate(self, source: str) -> Path:
        """The folder that `source` names, links resolved; one of the hub is fetched. Raises Refused unless it lies within a root."""
        if source.startswith(PREFIX):
            return self._hub.fetch(source)
        asked = Path(source)
        if "\0" in source or not source.strip():
            raise Refused(Check.CONTAINMENT, "the source must be the path of a folder")
        candidates = [asked] if asked.is_absolute() else [root / asked for root in self._rules.roots]
        inside = [real for real in map(_real, candidates) if self._contains(real)]
        found = next((real for real in inside if real.is_dir()), None)
        if found is None:
            roots = ", ".join(map(str, self._rules.roots))
            why = "is no folder" if inside else "is outside the folders that adapters may come from"
            raise Refused(Check.CONTAINMENT, f"{source[:200]!r} {why} ({roots}; setting `adapters.roots`)")
        return found

    def _contains(self, real: Path) -> bool:
        return any(real.is_relative_to(_real(root)) for root in (self._hub.folder, *self._rules.roots))

    def signature(self, source: str) -> tuple[object, ...] | None:
        """Changes when the source's files do; None when they cannot be read. Cheap: no file is opened, and a commit never changes."""
        if source.startswith(PREFIX):
            return (source,)
        try:
            folder = self.locate(source)
            measured = folder / calibration.FILE
            stats = [file.stat() for file in (folder / CONFIG, folder / WEIGHTS, *([measured] if measured.exists() else []))]
        except (OSError, Refused):
            return None
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)

    def admit(self, source: str) -> Admitted:
        """Raises Refused. An activated LoRA that the engine cannot serve is replaced by the plain one beside it, where there is one."""
        try:
            return self._admit(self.locate(source), source)
        except Refused as refused:
            beside = self.locate(source) / PLAIN
            if refused.check is not Check.ACTIVATION or self.base.no_activation is None or not beside.is_dir():
                raise
            return replace(self._admit(self.locate(str(beside)), str(beside)), fallback=f"`{PLAIN}` serves instead: {refused.message}")

    def _admit(self, folder: Path, source: str) -> Admitted:
        with self.store.staging() as staged:
            try:
                self._copy(folder, staged)
            except OSError as error:
                if error.errno in OURS:
                    raise StateFailed(f"the adapter cannot be copied: {error.strerror}") from error
                raise Refused(Check.FORMAT, f"{source[:200]!r} cannot be read: {error.strerror}") from error
            sha = content_sha256(staged)
            manifest = self._manifest(staged, sha)
            config = self.check(staged)
            calibrated = _calibration(staged / calibration.FILE)
            return Admitted(sha, self.store.keep(staged, sha), manifest, calibrated, activated=config.invocation is not None)

    def check(self, folder: Path) -> PeftConfig:
        """All that can be told from the two files that are loaded. Raises Refused."""
        config = peft.read(folder / CONFIG)
        self._check_activation(config)
        found = tensors.header(folder / WEIGHTS)
        if max([config.rank, *config.rank_pattern.values()]) > self.base.max_rank:
            raise Refused(Check.RANK, f"rank {config.rank} is over this server's --max-lora-rank {self.base.max_rank}")
        for module, sides in _modules(found).items():
            self._check_module(module, sides, config)
        broken = tensors.first_not_finite(folder / WEIGHTS, found)
        if broken is not None:
            raise Refused(Check.FINITE, f"{broken!r} holds a number that is not finite")
        return config

    def _copy(self, folder: Path, staged: Path) -> None:
        names = sorted(entry.name for entry in folder.iterdir())
        pickles = [name for name in names if Path(name).suffix in PICKLES]
        if pickles:
            raise Refused(Check.FORMAT, f"{pickles[0][:80]!r} may run code when it is read; only {WEIGHTS} is served")
        missing = [name for name in (CONFIG, WEIGHTS) if name not in names]
        if missing:
            raise Refused(Check.FORMAT, f"there is no {missing[0]} in the folder")
        room = self._rules.max_bytes
        for name in (CONFIG, WEIGHTS, *sorted({MANIFEST, calibration.FILE} & set(names))):
            real = _real(folder / name)
            if not self._contains(real):
                raise Refused(Check.CONTAINMENT, f"{name} is a link that leads outside the folders that adapters may come from")
            room -= _copy_file(real, staged / name, room)

    def _manifest(self, staged: Path, sha: str) -> dict[str, Any] | None:
        path = staged / MANIFEST
        if not path.is_file():
            if self._rules.require_manifest:
                raise Refused(Check.MANIFEST, f"there is no {MANIFEST}, and this server asks for one (setting `adapters.require_manifest`)")
            return None
        try:
            found: Any = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_MANIFEST else None
        except (ValueError, RecursionError) as error:
            raise Refused(Check.MANIFEST, f"{MANIFEST} is not JSON") from error
        if not isinstance(found, dict) or found.get("schema") != 1 or not isinstance(found.get("base"), dict):
            raise Refused(Check.MANIFEST, f"{MANIFEST} is none of ours: expected an object with `schema` 1, `base` and `content_sha256`")
        if found.get("content_sha256") != sha:
            raise Refused(Check.HASH, f"the files' hash is {sha}, {MANIFEST} says {str(found.get('content_sha256'))[:64]}")
        self._check_base(found["base"])
        return {key: str(found[key])[:200] for key in ("name", "method", "run_sha256") if key in found}

    def _check_base(self, claimed: Mapping[str, Any]) -> None:
        for key, own in (("config_sha256", self.base.config_sha256), ("weights_sha256", self.base.weights_sha256)):
            real = own() if key in claimed else None
            if real is not None and claimed[key] != real:
                named = str(claimed.get("model", "another model"))[:80]
                raise Refused(Check.BASE, f"it was trained on {named}, whose {key} differs from that of the model served here")

    def _check_activation(self, config: PeftConfig) -> None:
        if config.invocation is None:
            return
        if self.base.no_activation is not None:
            text = "it is an activated LoRA, which is wrong as a plain one, and this engine cannot serve it as what it is"
            raise Refused(Check.ACTIVATION, f"{text}: {self.base.no_activation}")
        if self.base.vocabulary is not None and max(config.invocation) >= self.base.vocabulary:
            text = f"the invocation token {max(config.invocation)} is none of the model's {self.base.vocabulary}: no prompt can hold it"
            raise Refused(Check.ACTIVATION, text)

    def _check_module(self, module: str, sides: dict[str, Tensor], config: PeftConfig) -> None:
        if config.target_modules is not None and not any(module == t or module.endswith(f".{t}") for t in config.target_modules):
            raise Refused(Check.TARGETS, f"there are weights for `{module[:120]}`, which `target_modules` does not name")
        if sides.keys() != {"A", "B"} or any(len(side.shape) != 2 for side in sides.values()):
            raise Refused(Check.SHAPE, f"`{module[:120]}` needs one matrix lora_A and one lora_B")
        (rank, inputs), (outputs, same) = sides["A"].shape, sides["B"].shape
        if rank != same or rank != config.rank_of(module):
            raise Refused(Check.RANK, f"`{module[:120]}` has ranks {rank} and {same}, the configuration says {config.rank_of(module)}")
        if not self.base.knows_shapes:
            return
        expected = self.base.shape_of(module)
        if expected is None:
            raise Refused(Check.TARGETS, f"the base model has no linear layer `{module[:120]}` that an adapter may change")
        if (inputs, outputs) != expected:
            raise Refused(Check.SHAPE, f"`{module[:120]}` maps {inputs} to {outputs}, the base model's maps {expected[0]} to {expected[1]}")


def _calibration(path: Path) -> dict[str, float] | None:
    if not path.is_file():
        return None
    try:
        return CalibrationSetting.read(path).model_dump()
    except (BadRequest, ValidationError, AttributeError, RecursionError) as error:
        raise Refused(Check.MANIFEST, f"{path.name} is not what `redraft calibrate` writes") from error


def _modules(found: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Module -> its sides A and B."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in found.items():
        parts = TENSOR.fullmatch(name)
        if parts is None:
            raise Refused(Check.TARGETS, f"{name[:120]!r} is no LoRA matrix of a linear layer; embeddings and saved modules are not served")
        modules.setdefault(parts[1], {})[parts[2]] = tensor
    if not modules:
        raise Refused(Check.TARGETS, f"{WEIGHTS} holds no weights")
    return modules


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _copy_file(real: Path, to: Path, room: int) -> int:
    """Copy a regular file of at most `room` bytes -> its size. What is opened is what is asked about: no pipe, no device."""
    source = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(source, "rb") as file:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            raise Refused(Check.FORMAT, f"{to.name} is no regular file")
        if found.st_size > room:
            raise Refused(Check.SIZE, f"with {to.name} of {found.st_size} bytes it is over the limit (setting `adapters.max_bytes`)")
        left = found.st_size
        with to.open("xb") as out:
            while block := file.read(min(left, BLOCK)):
                left -= out.write(block)
            out.flush()
            os.fsync(out.fileno())
    return found.st_size
