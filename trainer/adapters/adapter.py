"""Is an adapter's folder what its manifest says, and can a server load it? Reads all of it, changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.adapters.artifact import CONFIG, MANIFEST, SCHEMA, WEIGHTS, check_weights
from trainer.errors import BadAdapter
from trainer.origin import digest, sha256

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
UNSERVED = ("modules_to_save", "use_dora")
"""Fields of an adapter's configuration that no server of ours loads when they hold anything."""


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a sound adapter. Raises `BadAdapter`, which names the check that failed, `BadRun` or `Diverged`."""
    manifest = manifest_of(folder)
    _files(folder, manifest)
    rank = _config(folder)
    _ranks(folder, rank)
    check_weights(folder / WEIGHTS)
    return manifest


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest as it stands; the files are not looked at."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BadAdapter(folder, MANIFEST, "is not there: expected a folder that `trainer fit` made")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadAdapter(folder, MANIFEST, f"not JSON ({error.msg} in line {error.lineno})") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise BadAdapter(folder, MANIFEST, f"expected schema {SCHEMA}")
    return manifest


def _files(folder: Path, manifest: dict[str, Any]) -> None:
    pickled = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickled:
        raise BadAdapter(folder, "safetensors", f"expected weights as safetensors only, found {', '.join(pickled)}")
    files = manifest.get("files")
    if not isinstance(files, dict) or files.keys() != {CONFIG, WEIGHTS}:
        raise BadAdapter(folder, "files", f"expected hashes of {CONFIG} and {WEIGHTS} in the manifest")
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise BadAdapter(folder, "files", f"{name} is missing")
        if sha256(folder / name) != expected:
            raise BadAdapter(folder, "files", f"{name} is not the file that the manifest names: its hash is another")
    if manifest.get("content_sha256") != digest(files):
        raise BadAdapter(folder, "content_sha256", "is not the hash of the manifest's files")


def _config(folder: Path) -> int:
    """The rank that the configuration names."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadAdapter(folder, CONFIG, f"not JSON ({error.msg} in line {error.lineno})") from error
    held = [field for field in UNSERVED if config.get(field)]
    if held:
        raise BadAdapter(folder, CONFIG, f"{', '.join(held)}: a server does not load adapters with it")
    rank = config.get("r")
    if not isinstance(rank, int) or rank < 1:
        raise BadAdapter(folder, "rank", f"expected r in {CONFIG} to be a rank, found {rank!r}")
    return rank


def _ranks(folder: Path, rank: int) -> None:
    """Every matrix has the rank of the configuration; only the header of the file is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise BadAdapter(folder, "safetensors", f"{WEIGHTS} cannot be read: {error}") from error
    if not shapes:
        raise BadAdapter(folder, "rank", f"{WEIGHTS} holds no weights")
    for name, shape in shapes.items():
        found = shape[0] if ".lora_A." in name else shape[-1]
        if ".lora_" in name and found != rank:
            raise BadAdapter(folder, "rank", f"{name} has rank {found}, {CONFIG} says {rank}")
