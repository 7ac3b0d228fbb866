"""Immutable copies of admitted adapters, each in a folder named by its content's hash: `ROOT/<sha256>/`.

A server loads from here only, so a source may change or vanish. Several servers may share one store: each holds a shared lock on the
copies it uses, and a sweep deletes only what nobody holds and nobody has used for long.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redraft.home import sha256
from server.adapters.base import digest
from server.adapters.errors import StateFailed

WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"
LOADED = (CONFIG, WEIGHTS)
"""The two files that a server loads; the content's hash is over them."""
_HASH = re.compile(r"[0-9a-f]{64}")
_STAGING = "staging-"
DAY_S = 86_400
TRIES = 3


def content_sha256(folder: Path) -> str:
    """Equal for equal adapters, and what the trainer writes as `content_sha256`."""
    return digest({name: sha256(folder / name) for name in LOADED})


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._locks: dict[str, int] = {}
        self._mutex = threading.Lock()

    def path(self, sha: str) -> Path:
        return self.root / sha

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder beside the copies; it is gone afterwards unless `keep` took it."""
        self.root.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.root))
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def keep(self, staged: Path, sha: str) -> Path:
        """Move a staged adapter to its place in one step, unless the same is there, whole; then hold it."""
        for file in staged.iterdir():
            file.chmod(0o444)
        staged.chmod(0o755)
        for _ in range(TRIES):
            if self.hold(sha):
                return self.path(sha)
            with suppress(OSError):  # what lies there is broken, or another process was quicker
                self._discard(self.path(sha))
            with suppress(OSError):
                staged.rename(self.path(sha))
        raise StateFailed(f"{self.path(sha)} is broken and held by another process, or cannot be written")

    def hold(self, sha: str) -> bool:
        """Lock a copy against sweeps, by any process, and mark it as used. False when it is not there, or not whole."""
        with self._mutex:
            if sha not in self._locks:
                try:
                    lock = os.open(self.path(sha), os.O_RDONLY | os.O_DIRECTORY)
                except FileNotFoundError:
                    return False
                fcntl.flock(lock, fcntl.LOCK_SH)
                if not self._is_whole(sha):
                    os.close(lock)
                    return False
                self._locks[sha] = lock
            with suppress(FileNotFoundError):  # deleted by hand: the next load says so
                os.utime(self.path(sha))
            return True

    def release(self, sha: str) -> None:
        with self._mutex:
            lock = self._locks.pop(sha, None)
        if lock is not None:
            os.close(lock)

    def sweep(self, *, unused_s: float) -> list[str]:
        """Delete copies that no process holds and that were last used over `unused_s` ago, and what a killed server left half made."""
        swept = []
        before = time.time() - unused_s
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            with suppress(OSError):  # another process sweeps too
                old = folder.stat().st_mtime < before
                left = folder.name.startswith(_STAGING) and folder.stat().st_mtime < time.time() - DAY_S
                if left or (old and _HASH.fullmatch(folder.name) and folder.name not in self._locks and self._discard(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
                    swept.append(folder.name)
        return swept

    def _is_whole(self, sha: str) -> bool:
        try:
            return content_sha256(self.path(sha)) == sha
        except OSError:
            return False

    def _discard(self, folder: Path) -> bool:
        """Delete a copy, unless a process holds it."""
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            away = folder.with_name(f"{_STAGING}gone-{folder.name}-{os.getpid()}")
            folder.rename(away)
            shutil.rmtree(away, ignore_errors=True)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True
