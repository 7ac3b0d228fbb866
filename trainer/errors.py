"""What can be wrong with a run before a weight is touched. Each error says where, and what was expected.

BadRequest
├── BadConfig   the configuration: names the field
├── BadRow      a row of a data file: names file, line and field
├── BadRun      the files of an earlier run do not belong to this one
├── BadAdapter  an adapter's folder that no server should be given
└── Diverged    training ended in weights that are no numbers
"""

from __future__ import annotations

from redraft.errors import BadRequest


class BadConfig(BadRequest):
    """A configuration that cannot be trained, or whose adapter could not be served."""


class BadRow(BadRequest):
    """A row of a data file that cannot be used as it is."""

    def __init__(self, where: str, field: str, expected: str) -> None:
        super().__init__(f"{where}: field `{field}`: {expected}", param=field)
        self.where = where
        self.field = field


class BadRun(BadRequest):
    """Output or checkpoint files that were made from other data or another configuration."""


class BadAdapter(BadRequest):
    """An adapter's folder that is not what its manifest says, or that a server could not load; `check` names what failed."""

    def __init__(self, folder: object, check: str, found: str) -> None:
        super().__init__(f"{folder}: {check}: {found}", param=check)
        self.check = check


class Diverged(BadRequest):
    """Training ran, and its result is of no use."""
