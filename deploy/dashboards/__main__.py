"""`python -m deploy.dashboards [--check]`: write the dashboards' JSON, or fail when it is not what the code makes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.dashboards import adapters, engine, evaluation, latency, overview

FOLDER = Path(__file__).parent.parent / "grafana" / "dashboards"
PAGES: dict[str, Callable[[], Dashboard]] = {
    "overview": overview.build,
    "latency": latency.build,
    "adapters": adapters.build,
    "engine": engine.build,
    "evaluation": evaluation.build,
}


def rendered() -> dict[str, str]:
    """File name -> JSON."""
    return {f"{name}.json": json.dumps(build().build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n" for name, build in PAGES.items()}


def drift(folder: Path) -> list[str]:
    """What differs between `folder` and the code, one line each."""
    wanted = rendered()
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))}
    lines = [f"{name}: not there" for name in wanted.keys() - found.keys()]
    lines += [f"{name}: no code makes it" for name in found.keys() - wanted.keys()]
    return sorted(lines + [f"{name}: is not what the code makes" for name in wanted.keys() & found.keys() if wanted[name] != found[name]])


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.dashboards", description="Write the Grafana dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    if parser.parse_args(arguments).check:
        found = drift(folder)
        for line in found:
            print(f"{line}; run `python -m deploy.dashboards`", file=sys.stderr)
        return 1 if found else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
