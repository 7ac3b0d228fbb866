"""The shared vocabulary. Imports nothing of ours.

Requests and results of the engine and of the loop are plain frozen dataclasses; the wire forms live in `server.routes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypedDict

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One chat message, as the OpenAI chat API spells it."""

    role: str
    content: str


class Verdict(StrEnum):
    """What a critic says of a response."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    ABSTAIN = "abstain"


class Stage(StrEnum):
    """The three kinds of engine call a loop makes."""

    SOLVE = "solve"
    CRITIQUE = "critique"
    REVISE = "revise"


class Stop(StrEnum):
    """Why a loop ended. The first four are natural ends, the others say what cut it off."""

    AGREED = "agreed"
    """All drafts that have an answer give the same one."""
    SETTLED = "settled"
    """No draft or verdict still outstanding could change the winner."""
    ROUNDS = "rounds"
    """All rounds of critique and revision were used."""
    NO_ANSWER = "no_answer"
    """No draft has an answer that a checker can read: the first whole draft is returned."""
    ENGINE_FAILED = "engine_failed"
    """The engine failed while drafts were written: the best of what was there is returned, and a warning says what happened."""
    MAX_TOKENS = "max_tokens"
    MAX_CALLS = "max_calls"
    DEADLINE = "deadline"
    DRAINING = "draining"
    """The server was about to stop and its grace was over."""


class CriticState(StrEnum):
    """How the critic's word was used in a loop."""

    CALIBRATED = "calibrated"
    """Verdicts moved votes by their measured log-likelihood ratio."""
    UNCALIBRATED = "uncalibrated"
    """Nobody has measured this critic: it moves no vote, and is asked only where the request says so."""
    BELOW_BREAK_EVEN = "below_break_even"
    """It was measured and does not pay: it moves no vote, and is asked only where the request says so."""
    UNUSED = "unused"
    """No round of critique was asked for, or a calibrated critic had nothing in doubt or no budget left."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more engine calls: all that was generated, cancelled work included."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.calls + other.calls,
        )

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far a critic's verdicts can be trusted, measured on responses whose truth is known.

    `tpr` is P(says correct | correct), `fpr` is P(says correct | incorrect), `n` the number of judged responses. It says correct where
    its belief is at least `threshold`. All of that is one critique; a judgement may be of several (`critiques`).
    """

    tpr: float
    fpr: float
    n: int
    threshold: float = 0.5
    rho_response: float = 1.0
    """Correlation between the verdicts of two critiques of one response, its truth being known; 1 where nobody has measured it."""
    rho_answer: float = 1.0
    """The same between critiques of two responses that give the same answer to the same problem."""
    critiques: int = 1
    """How many critiques make one judgement."""
    critique_tokens: int | None = None
    """The longest critique it was measured with; None: as the loop asks for."""
    pooled_accuracy: float | None = None
    """Balanced accuracy of a judgement of several critiques; None: there is one critique in each."""
    matched_tpr: float | None = None
    """`tpr` and `fpr` between right and wrong answers with equally many votes, and of how many responses: what a verdict tells that the
    vote does not. None: as `tpr`, `fpr` and `n`."""
    matched_fpr: float | None = None
    matched_n: int | None = None

    @property
    def told(self) -> tuple[float, float, int]:
        """True and false positive rate beside the votes, and of how many responses."""
        if self.matched_tpr is None or self.matched_fpr is None:
            return self.tpr, self.fpr, self.n
        return self.matched_tpr, self.matched_fpr, self.matched_n or self.n

    @property
    def balanced_accuracy(self) -> float:
        """Of one judgement, beside the votes."""
        tpr, fpr, _ = self.told
        return (tpr + 1.0 - fpr) / 2.0 if self.pooled_accuracy is None else self.pooled_accuracy


@dataclass(frozen=True, slots=True)
class Draft:
    """A sampled response and what a checker extracted from it. `answer` is None when there is none."""

    index: int
    content: str
    answer: str | None
    finish_reason: str
    stage: Stage = Stage.SOLVE
    parent: int | None = None
    """For a revision: the index of the draft that was revised."""


@dataclass(frozen=True, slots=True)
class Critique:
    """A judgement of one response.

    `p_correct` comes from the log-probabilities of the verdict labels after `Conclusion:` (None when the labels were not
    readable); `reason` says why a verdict is `abstain`. Of several critiques it is the mean, and `beliefs` and `verdicts` are theirs.
    """

    draft: int
    text: str
    verdict: Verdict
    p_correct: float | None
    reason: str | None = None
    beliefs: tuple[float | None, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One distinct answer: a cluster of mathematically equal ones."""

    answer: str
    members: tuple[int, ...]
    """Indices of the drafts and revisions that gave it, in order of arrival."""
    weight: float


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Seconds since the loop began at which a stage started and ended."""

    stage: Stage
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class LoopResult:
    """All that happened for one problem: the answer, and the transcript that led to it."""

    answer: str | None
    content: str
    """The response that gives the answer: the earliest member of the winning cluster."""
    chosen: int | None
    stop: Stop
    critic: CriticState
    drafts: tuple[Draft, ...]
    critiques: tuple[Critique, ...]
    candidates: tuple[Candidate, ...]
    usage: Usage
    usage_by_stage: dict[Stage, Usage]
    timing: tuple[StageTiming, ...]
    wall_s: float
    ttft_s: float | None
    warnings: tuple[str, ...] = field(default=())
