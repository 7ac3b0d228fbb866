"""What a run is: everything that decides its responses, and the identity that follows from it. Knows no transport."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from evalsuite.tasks import Problem, Shot
from evalsuite.tasks.types import content
from redraft.errors import BadRequest
from redraft.prompts import SOLVE_SYSTEM

LONGEST_VALUE = 120


class Strategy(StrEnum):
    """How a problem is turned into an answer."""

    DIRECT = "direct"
    """Each response stands for itself; with n > 1 the accuracy is their mean (avg@n)."""
    VOTE = "vote"
    """The answer that most of n responses give, equality being mathematical (maj@n)."""
    ADAPTIVE = "adaptive"
    """The same vote, stopped as soon as no response still to come could change it."""
    LOOP = "loop"
    """The server's own solve -> critique -> revise loop, at `/solve`."""
    CRITIQUE = "critique"
    """A critic's verdict on labelled responses, at `/critique`: right when it is the label."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn. None leaves a value to the server."""

    n: int | None
    """Responses for a problem; drafts for `loop`."""
    max_tokens: int
    """Tokens that one response may take."""
    temperature: float | None
    seed: int | None
    rounds: int | None = None
    deadline_s: float | None = None
    budget: int | None = None
    """For `loop`: tokens that all stages together may take."""
    extra: dict[str, Any] | None = None
    """For chats: more fields of the request, such as top_p or chat_template_kwargs."""
    critique: str | None = None
    """For `loop`: `always` asks critics without a calibration too."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """All that decides a sample. Two samples with one identity may stand for each other; how fast they were asked for is not in it."""

    task: str
    task_fingerprint: str
    model: str
    strategy: Strategy
    sampling: Sampling
    critic: str | None = None
    system: str = SOLVE_SYSTEM
    """The system message; empty for none."""
    shots: tuple[Shot, ...] = ()
    """Few-shot examples, before the problem."""

    def as_json(self) -> dict[str, Any]:
        value = {**asdict(self), "strategy": str(self.strategy)}
        shots = list(value.pop("shots"))
        if value["sampling"]["critique"] is None:
            del value["sampling"]["critique"]  # runs of before have no such field, and go on
        return {**value, "shots": shots} if shots else value

    @staticmethod
    def from_json(value: dict[str, Any]) -> RunConfig:
        """The configuration that `as_json` gave; fields it does not know are left out."""
        known = {field.name: value[field.name] for field in fields(RunConfig) if field.name in value}
        try:
            known["sampling"] = Sampling(**known["sampling"])
            known["strategy"] = Strategy(known["strategy"])
            known["shots"] = tuple(Shot(**shot) for shot in known.get("shots", ()))
            return RunConfig(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise BadRequest(f"not the configuration of a run: {error}") from error

    @property
    def identity(self) -> str:
        return _hash(self.as_json())

    def key(self, problem: Problem) -> str:
        """The content hash under which this run keeps the sample of `problem`."""
        return _hash([self.as_json(), *content(problem)])


def differences(mine: dict[str, Any], theirs: dict[str, Any], prefix: str = "", *, mine_is: str = "now") -> list[str]:
    """Human-readable differences between two configurations, field by field."""
    found: list[str] = []
    for name in sorted(mine.keys() | theirs.keys()):
        a, b = mine.get(name), theirs.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.", mine_is=mine_is)
        elif a != b:
            found.append(f"{prefix}{name}: {_short(b)} there, {_short(a)} {mine_is}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _hash(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
