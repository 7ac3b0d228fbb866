"""Brings the libraries: `npm ci` in a place of its own, then only the files that the pages use. Runs no script of any package."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from redraft import assets, home
from redraft.errors import RedraftError

Say = Callable[[str], None]
NPM_TIMEOUT_S = 300
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1", "--fetch-timeout=60000")


class NotInstalled(RedraftError):
    """The libraries could not be brought; the message says why."""

    type = "assets_error"


def install(say: Say, dist: Path = assets.DIST) -> None:
    """Make `dist` whole. Quick when it is; raises NotInstalled without npm, or with npm's own words when it fails."""
    if assets.flaw(dist) is None:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled(f"npm is not there: without it there is no playground; all else works. With it: {assets.HOW}")
    say("web libraries, from the lock by npm")
    with tempfile.TemporaryDirectory(prefix="redraft-assets-") as place:
        chosen = list(_chosen(_packages(npm, Path(place))))
        shutil.rmtree(dist, ignore_errors=True)
        for file, name in chosen:
            (dist / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, dist / name)
    home.seal(dist, source=assets.source())


def _packages(npm: str, place: Path) -> Path:
    for name in ("package.json", assets.LOCK.name, ".npmrc"):
        if (assets.ROOM / name).is_file():
            shutil.copyfile(assets.ROOM / name, place / name)
    try:
        done = subprocess.run([npm, *NPM_CI], cwd=place, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"npm ci did not end within {NPM_TIMEOUT_S} s") from error
    if done.returncode:
        raise NotInstalled(f"npm ci failed: {' '.join((done.stderr or done.stdout).split())[-800:]}")
    return place / "node_modules"


def _chosen(packages: Path) -> Iterator[tuple[Path, str]]:
    """Each file that is used, and its name below `dist`."""
    for package, patterns in assets.FILES.items():
        for pattern in (*patterns, "LICEN[CS]E*"):
            found = sorted((packages / package).glob(pattern))
            if not found:
                raise NotInstalled(f"the package {package} has no {pattern}: the lock and the list of files do not fit together")
            for file in found:
                name = file.relative_to(packages / package).as_posix().removeprefix("dist/")
                yield file, f"{package}/{name}"
