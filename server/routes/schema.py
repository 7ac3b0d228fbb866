"""The wire forms of `/solve`, `/critique` and the loop's fields. Unknown fields are refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from redraft.errors import BadRequest
from redraft.options import Asked, LoopOptions, with_overrides
from redraft.types import Critique, Draft, LoopResult, Message, Stage, Usage
from server.config import Limits, LoopDefaults

MAX_TEXT = 400_000
"""Characters of one text field; far above any context length that is served, far below what hurts."""


def _writable(text: str) -> str:
    """A lone surrogate is valid in JSON and in no text: it could not be sent on."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not valid Unicode at character {error.start}") from error
    return text


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_writable)]
Said = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_writable)]
"""A text that says something."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    """A message of a conversation. Only text can be solved."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class LoopParams(Strict):
    """How much this loop may do; what is left out comes from the server's settings."""

    effort: Literal["low", "medium", "high"] | None = Field(None, description="A named budget; fields beside it win over what it says.")
    drafts: int | None = Field(None, ge=1, description="At most so many responses; fewer when they agree.")
    batch: int | None = Field(None, ge=1, le=64, description="Responses drawn side by side before the vote is looked at again.")
    confidence: float | None = Field(None, gt=0.5, le=1, description="Drawing stops when the leading answer's posterior reaches this.")
    rounds: int | None = Field(None, ge=0, description="Rounds of critique and revision; 0 is voting alone.")
    critique: Asked | None = Field(
        None, description="`calibrated` asks only a critic that was measured and pays; `always` any, whose word then moves no vote."
    )
    max_tokens: int | None = Field(None, ge=8, description="Generated tokens of all stages together.")
    max_calls: int | None = Field(None, ge=1, description="Engine calls of all stages together.")
    deadline_s: float | None = Field(None, gt=0, le=86_400, description="Wall-clock seconds; then the best answer so far.")
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = Field(None, ge=0, lt=2**63)
    response_tokens: int | None = Field(None, ge=8, description="The longest draft or revision.")
    critique_tokens: int | None = Field(None, ge=8, description="The longest critique.")

    def options(self, defaults: LoopDefaults, limits: Limits) -> LoopOptions:
        """The loop's options. Raises BadRequest for what is over the server's limits."""
        for name in ("drafts", "rounds", "max_tokens", "deadline_s"):
            value, most = getattr(self, name), getattr(limits, name)
            if value is not None and value > most:
                raise BadRequest(f"`loop.{name}` is {value}, this server allows {most}", param=f"loop.{name}")
        options = with_overrides(_with_effort(defaults.options(), self.effort, limits), **self.model_dump(exclude={"effort"}))
        if options.drafts > 1 and options.temperature == 0:
            raise BadRequest(
                "`loop.temperature` must be above 0 when there are several drafts: greedy ones are all the same", param="loop.temperature"
            )
        return options


def _with_effort(options: LoopOptions, effort: str | None, limits: Limits) -> LoopOptions:
    """`low` votes over a few tries, the third if two differ; `high` draws and judges more; both scale the budgets of the settings."""
    if effort == "low":
        return replace(
            options,
            drafts=min(options.drafts, 3),
            batch=min(options.batch, 2),
            rounds=0,
            max_tokens=max(8, options.max_tokens // 4),
            max_calls=min(options.max_calls, 4),
            deadline_s=None if options.deadline_s is None else options.deadline_s / 4,
        )
    if effort == "high":
        return replace(
            options,
            drafts=min(max(options.drafts, 16), limits.drafts),
            rounds=min(max(options.rounds, 2), limits.rounds),
            max_tokens=min(options.max_tokens * 4, limits.max_tokens),
            max_calls=options.max_calls * 4,
            deadline_s=None if options.deadline_s is None else min(options.deadline_s * 4, limits.deadline_s),
        )
    return options


class SolveRequest(Strict):
    problem: Said | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1)
    model: str | None = None
    critic: str | None = None
    loop: LoopParams = LoopParams()
    stream: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> SolveRequest:
        if (self.problem is None) == (self.messages is None):
            raise ValueError("give either `problem` or `messages`")
        return self

    def conversation(self) -> list[Message]:
        if self.messages is not None:
            return [m.message() for m in self.messages]
        assert self.problem is not None
        return [{"role": "user", "content": self.problem}]


class CritiqueRequest(Strict):
    problem: Said
    response: Said
    model: str | None = None
    max_tokens: int | None = Field(None, ge=2, le=131_072, description="The longest critique.")
    critiques: int = Field(1, ge=1, le=16, description="So many side by side; several are sampled, and their mean counts.")
    stream: bool = False


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def loop_usage_body(result: LoopResult) -> dict[str, Any]:
    """Usage of a whole loop, broken down by stage under `loop`."""
    stages = {stage.value: usage_body(used) | {"calls": used.calls} for stage, used in result.usage_by_stage.items()}
    return usage_body(result.usage) | {"loop": stages}


def draft_body(draft: Draft) -> dict[str, Any]:
    return {
        "stage": draft.stage.value,
        "index": draft.index,
        "parent": draft.parent,
        "content": draft.content,
        "answer": draft.answer,
        "finish_reason": draft.finish_reason,
    }


def critique_body(critique: Critique) -> dict[str, Any]:
    return {
        "stage": Stage.CRITIQUE.value,
        "draft": critique.draft,
        "content": critique.text,
        "verdict": critique.verdict.value,
        "p_correct": critique.p_correct,
        "beliefs": list(critique.beliefs),
        "reason": critique.reason,
    }


def transcript_body(result: LoopResult) -> list[dict[str, Any]]:
    """Drafts, then critiques, then revisions."""
    solved = [draft_body(d) for d in result.drafts if d.stage is Stage.SOLVE]
    revised = [draft_body(d) for d in result.drafts if d.stage is Stage.REVISE]
    return [*solved, *(critique_body(c) for c in result.critiques), *revised]


def outcome_body(result: LoopResult) -> dict[str, Any]:
    return {
        "stop": result.stop.value,
        "critic": result.critic.value,
        "chosen": result.chosen,
        "candidates": [{"answer": c.answer, "members": list(c.members), "weight": round(c.weight, 6)} for c in result.candidates],
        "warnings": list(result.warnings),
    }


def timing_body(result: LoopResult) -> dict[str, Any]:
    return {
        "wall_s": round(result.wall_s, 6),
        "ttft_s": None if result.ttft_s is None else round(result.ttft_s, 6),
        "stages": [{"stage": t.stage.value, "start_s": round(t.start_s, 6), "end_s": round(t.end_s, 6)} for t in result.timing],
    }


def solve_body(result: LoopResult, *, request_id: str, model: str, critic: str) -> dict[str, Any]:
    return {
        "id": request_id,
        "object": "redraft.solution",
        "model": model,
        "critic": critic,
        "answer": result.answer,
        "content": result.content,
        "outcome": outcome_body(result),
        "transcript": transcript_body(result),
        "usage": loop_usage_body(result),
        "timing": timing_body(result),
    }
