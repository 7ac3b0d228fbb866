"""What the registry answers when it does not do what was asked. `Check` is the closed list of reasons to refuse an adapter."""

from __future__ import annotations

from enum import StrEnum

from redraft.errors import BadRequest, ModelNotFound, RedraftError


class Check(StrEnum):
    """The checks of an admission, in their order."""

    NAME = "name"
    CONTAINMENT = "containment"
    FORMAT = "format"
    SIZE = "size"
    MANIFEST = "manifest"
    HASH = "hash"
    CONFIG = "config"
    ACTIVATION = "activation"
    RANK = "rank"
    BASE = "base"
    TARGETS = "target_modules"
    SHAPE = "shape"
    FINITE = "finite"
    LOAD = "load"
    """The engine itself could not load it."""


class Refused(BadRequest):
    """An adapter that was not admitted. `param` is the check."""

    type = "adapter_refused"

    def __init__(self, check: Check, message: str) -> None:
        super().__init__(f"the adapter is refused, check `{check}`: {message}", param=check.value)
        self.check = check


class UnknownAdapter(ModelNotFound):
    """No such alias, or no such revision of it."""


class Conflict(RedraftError):
    """What was asked does not go with the state of the registry: no free slot, nothing to roll back to, declared in a file."""

    status = 409
    type = "conflict_error"


class StateFailed(RedraftError):
    """The registry's own file or folder could not be read or written."""

    status = 500


class NotOffered(RedraftError):
    """This server has no adapters to manage."""

    status = 501
    type = "not_supported_error"
