"""A server on a Unix socket, vLLM's `--uds`: where the path is told, and how one that a dead server left behind is taken away."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from pathlib import Path

from redraft.errors import BadRequest

FLAG = "--uds"


def path_of(flags: Sequence[str]) -> str | None:
    """The path among vLLM's flags, the last one as vLLM takes it; None where the server listens on a port."""
    found = None
    for flag, following in itertools.pairwise([*flags, ""]):
        name, given, value = flag.partition("=")
        if name == FLAG:
            found = value if given else following
    return found or None


def clear(path: Path) -> None:
    """Take away a socket that nobody listens on any more: binding would fail. Raises BadRequest when it is another's, or no socket."""
    if not path.is_socket():
        if path.exists():
            raise BadRequest(f"--uds {path}: there is a file of that name that is no socket", param="uds")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise BadRequest(f"--uds {path}: a server listens there already", param="uds")
