"""Prints the entries of a lock that a vLLM image lacks: what the server needs besides vLLM, at the locked versions and hashes.

    python3 deploy/image/lock_subset.py requirements/cpu.lock > missing.lock

Runs in the image before anything of ours is there: the standard library only.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

NEEDED = (
    *("fastapi", "uvicorn", "httpx", "httpx-sse", "platformdirs", "prometheus-client", "pydantic", "pydantic-settings", "pyyaml"),
    *("rich", "typer", "sympy", "mpmath", "math-verify", "latex2sympy2-extended", "antlr4-python3-runtime", "safetensors"),
    *("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-proto", "opentelemetry-semantic-conventions"),
    *("opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-proto-common"),
    *("opentelemetry-exporter-http-transport", "opentelemetry-exporter-otlp-common", "googleapis-common-protos"),
    *("aiohttp", "numpy", "scipy"),
)
"""The closure of the extra `serve`, and what `evalsuite` needs to measure from within the image."""


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def entries(lock: str) -> dict[str, list[str]]:
    """Distribution -> its entries: one line with a version and markers, then its hashes. A name may have several, with markers."""
    found: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.strip()):
        found.setdefault(entry.partition("==")[0], []).append(entry)
    return found


def main(path: str) -> None:
    locked = entries(Path(path).read_text(encoding="utf-8"))
    unknown = [name for name in NEEDED if name not in locked]
    if unknown:
        sys.exit(f"{path}: no entry for {', '.join(unknown)}")
    for name in NEEDED:
        if not installed(name):
            print("\n".join(locked[name]))


if __name__ == "__main__":
    main(sys.argv[1])
