"""Data sets of reasoning-gym by name, without the start of the package, which imports them all and the libraries that all of them want.

The modules that are asked for are run under empty packages that know their folders and nothing more. Knows no tasks.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any

from redraft.errors import BadRequest

PACKAGE = "reasoning_gym"
DISTRIBUTION = "reasoning-gym"
TESTED = "0.1.25"
INSTALL = f"pip install --no-deps {DISTRIBUTION}=={TESTED}"

Create = Callable[..., Any]
"""`create(name, seed=..., size=..., **settings)` is a data set: a sequence of entries with a question, an answer and metadata."""

_one_at_a_time = threading.Lock()


def version() -> str:
    """The version that is installed. Raises BadRequest, saying how to install it, when there is none."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise BadRequest(f"{DISTRIBUTION} makes the problems of this task and is not installed: {INSTALL}", param="task") from error


@contextmanager
def opened(modules: Iterable[str]) -> Iterator[Create]:
    """The maker of the data sets that these modules define, such as `arithmetic.gcd`. It may be used until the block ends."""
    version()
    with _one_at_a_time:
        empty = [name for name in _packages(modules) if name not in sys.modules]
        try:
            for name in empty:
                sys.modules[name] = _empty(name)
            for module in modules:
                importlib.import_module(f"{PACKAGE}.{module}")
            create: Create = importlib.import_module(f"{PACKAGE}.factory").create_dataset
            yield create
        finally:
            for name in empty:
                sys.modules.pop(name, None)


def _packages(modules: Iterable[str]) -> list[str]:
    """The package and its rooms that the modules are in, the package first."""
    return [PACKAGE, *sorted({f"{PACKAGE}.{module.partition('.')[0]}" for module in modules})]


def _empty(name: str) -> ModuleType:
    """A package that finds the modules in its folder and has run nothing. The one above it is there already."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.submodule_search_locations is not None, name
    package = ModuleType(name)
    package.__spec__ = spec
    package.__path__ = list(spec.submodule_search_locations)
    return package
