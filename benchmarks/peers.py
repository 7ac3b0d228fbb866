"""A peer's command in a virtual environment of its own, so that what it needs never meets what we need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redraft import home


class CannotRun(Exception):
    """Why there is no peer to compare with."""


@dataclass(frozen=True)
class Peer:
    """`packages` are pip's arguments, in as many calls as there are sequences."""

    name: str
    version: str
    command: str
    packages: tuple[Sequence[str], ...]

    def executable(self, given: Path | None) -> Path:
        """The given command, else that of an environment made for it. Raises CannotRun."""
        if given is not None:
            if not given.is_file():
                raise CannotRun(f"{given}: no such file")
            return given
        place = home.home() / "benchmarks" / f"{self.name}-{self.version}"
        command = place / "bin" / self.command
        if not command.is_file():
            try:
                subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, capture_output=True, text=True)
                for packages in self.packages:
                    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
                    subprocess.run(pip, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                raise CannotRun(f"installing {self.name} {self.version} failed: {error.stderr.strip()[-500:]}") from error
        return command
