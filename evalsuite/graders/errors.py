"""What can be wrong with a grader. Whoever grades gets a score or one of these, never a score that is none.

GraderError
├── InvalidGrader   the grader object: names the field
├── MissingField    the row has not what a template asks for
└── GraderFailed    the grading itself: `fault` says how
"""

from __future__ import annotations

from enum import StrEnum

from redraft.errors import RedraftError


class Fault(StrEnum):
    """How a grading failed."""

    TIMEOUT = "timeout"
    """It ran past its wall-clock limit and was killed."""
    MEMORY = "memory"
    RAISED = "raised"
    """The grader's own code raised an exception."""
    CRASHED = "crashed"
    """Its process ended without a reply."""
    OUTPUT = "output"
    """Its reply was over the size limit, or no reply at all."""
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    FORMULA = "formula"
    """Arithmetic that has no result, such as a division by zero."""
    UNREACHABLE = "unreachable"
    """The judging model's endpoint gave no reply, after retries."""
    REJECTED = "rejected"
    """The endpoint refused the request."""
    UNPARSABLE = "unparsable"
    """The judging model's reply is not the JSON that was asked for."""
    UNKNOWN = "unknown"
    """It needs something that nobody knows of this sample, such as why generation ended."""


class GraderError(RedraftError):
    """Base of all errors of graders."""


class InvalidGrader(GraderError):
    """A grader object that cannot be used as it is."""

    status = 400
    type = "invalid_request_error"


class MissingField(GraderError):
    """A template names a field that this row has not, or that holds null."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path}: {expected}", param=path)
        self.path = path
        self.expected = expected


class GraderFailed(GraderError):
    """A grading that gave no score."""

    status = 502
    type = "grader_error"

    def __init__(self, name: str, fault: Fault, detail: str) -> None:
        super().__init__(f"grader {name!r}: {fault}: {detail}")
        self.name = name
        self.fault = fault
        self.detail = detail
