"""Adapters of the Hugging Face hub at a pinned commit. They are fetched into a folder, and admission treats that as any other source.

Spelled `hub:OWNER/NAME?revision=SHA` with the commit's whole hash: a branch may be another adapter tomorrow. Only the files that a server
reads are fetched, once their sizes are known, and only of repositories that the settings name. Blocking: call it in a thread.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import httpx

from redraft import calibration
from redraft.errors import RedraftError
from server.adapters.errors import Check, Refused
from server.adapters.store import CONFIG, DAY_S, MANIFEST, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX = "hub:"
SPEC = re.compile(r"hub:([\w-][\w.-]*/[\w-][\w.-]*)\?revision=([0-9a-f]{40})")
FILES = (CONFIG, WEIGHTS, MANIFEST, calibration.FILE)
_STAGING = ".fetch-"
PLAIN = "plain"
"""The folder in an activated adapter's that may hold a plain one, for engines that cannot serve the activated."""


class HubUnreachable(RedraftError):
    """The hub did not answer, or not with what was asked for."""

    status = 502
    type = "hub_error"


@dataclass(frozen=True, slots=True)
class Pinned:
    """One commit of a repository."""

    repo: str
    revision: str


def parse(source: str) -> Pinned:
    """Raises Refused unless the commit is named by its whole hash."""
    match = SPEC.fullmatch(source)
    if match is None:
        raise Refused(
            Check.CONTAINMENT, f"{source[:200]!r}: expected hub:OWNER/NAME?revision=SHA with the 40 hexadecimal digits of a commit"
        )
    return Pinned(match[1], match[2])


class Hub:
    """Fetches into `folder/OWNER--NAME/SHA`. `allowed` are repositories, or patterns such as `OWNER/*`; the hub's own token and endpoint
    variables (HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE) apply."""

    def __init__(self, folder: Path, *, allowed: Sequence[str], max_bytes: int) -> None:
        self.folder = folder
        self._allowed = tuple(allowed)
        self._max_bytes = max_bytes

    def fetch(self, source: str) -> Path:
        """The folder with the adapter's files, fetched if it is not there. Raises Refused, and HubUnreachable."""
        pinned = parse(source)
        if not any(fnmatch.fnmatchcase(pinned.repo, pattern) for pattern in self._allowed):
            known = ", ".join(self._allowed) or "none"
            raise Refused(
                Check.CONTAINMENT, f"{pinned.repo} is no repository that adapters may come from ({known}; setting `adapters.hub`)"
            )
        target = self.folder / pinned.repo.replace("/", "--") / pinned.revision
        if not target.is_dir():
            self._download(pinned, target)
        return target

    def _download(self, pinned: Pinned, target: Path) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            HfHubHTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        staged = Path(tempfile.mkdtemp(prefix=_STAGING, dir=target.parent))
        api = HfApi()
        try:
            for name in self._wanted(api, pinned):
                api.hf_hub_download(pinned.repo, name, revision=pinned.revision, local_dir=staged)
            shutil.rmtree(staged / ".cache", ignore_errors=True)
            with suppress(OSError):  # another process was quicker
                staged.rename(target)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise Refused(
                Check.CONTAINMENT, f"the hub has no {pinned.repo} at {pinned.revision[:12]}, or does not show it to us"
            ) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.HTTPError) as error:
            text = str(error).strip().partition("\n")[0][:300]
            raise HubUnreachable(f"{pinned.repo} could not be fetched: {text or type(error).__name__}") from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _wanted(self, api: HfApi, pinned: Pinned) -> list[str]:
        """The names of the files to fetch. Raises Refused where one is missing, or all are too large together."""
        from huggingface_hub import RepoFile

        found = {
            entry.path: entry.size
            for entry in api.list_repo_tree(pinned.repo, recursive=True, revision=pinned.revision)
            if isinstance(entry, RepoFile) and _is_read(entry.path)
        }
        missing = [name for name in (CONFIG, WEIGHTS) if name not in found]
        if missing:
            raise Refused(Check.FORMAT, f"there is no {missing[0]} in {pinned.repo} at {pinned.revision[:12]}")
        total = sum(found.values())
        if total > self._max_bytes:
            raise Refused(Check.SIZE, f"{pinned.repo} has {total} bytes to fetch, over the limit (setting `adapters.max_bytes`)")
        return sorted(found)


def _sweep(folder: Path) -> None:
    """Delete what a killed server left half fetched a day ago or longer."""
    for left in folder.glob(f"{_STAGING}*"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if left.stat().st_mtime < time.time() - DAY_S:
                shutil.rmtree(left, ignore_errors=True)


def _is_read(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return parts[-1] in FILES and parts[:-1] in ((), (PLAIN,))
