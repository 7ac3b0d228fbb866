"""Data sets of the Hugging Face hub, each at a pinned revision. Imports `datasets` only when rows are read; checks no rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from evalsuite.tasks.files import Fields
from redraft.errors import BadRequest

DEFAULT_MAX_TOKENS = 1024
PREFIX = "hub:"


def _as_it_is(answer: object) -> object:
    return answer


@dataclass(frozen=True, slots=True)
class HubTask:
    """A data set on the Hugging Face hub, pinned."""

    name: str
    about: str
    repo: str
    revision: str
    split: str
    fields: Fields
    licence: str
    max_tokens: int
    local: str
    """The file that stands for it in a `--data-dir`."""
    configs: tuple[str | None, ...] = (None,)
    """The data set's configurations, one after the other."""
    gold: Callable[[object], object] = _as_it_is
    """From the answer column to the gold."""


def _after_hashes(solution: object) -> str:
    return str(solution).rsplit("####", 1)[-1].strip().replace(",", "")


def _boxed(solution: object) -> str:
    """What the last `\\boxed{...}` of a reference solution holds; empty when there is none, which makes the row a bad one."""
    text = str(solution)
    start = text.rfind("\\boxed{")
    depth = 0
    for end in range(start, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if text[end] == "}" and depth == 0:
            return text[start + len("\\boxed{") : end]
    return ""


def _listed(answers: object) -> object:
    return ", ".join(map(str, answers)) if isinstance(answers, list) else answers


_MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)

HUB: Mapping[str, HubTask] = {
    task.name: task
    for task in (
        HubTask(
            "gsm8k", "grade-school word problems, test split", "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", "test",
            Fields("question", "answer"), "MIT", 512, "gsm8k_test.jsonl", configs=("main",), gold=_after_hashes,
        ),
        HubTask(
            "math", "competition problems, test split, 7 subjects", "EleutherAI/hendrycks_math",
            "21a5633873b6a120296cce3e2df9d5550074f4a3", "test", Fields("problem", "solution"), "MIT", 2048, "math_test.jsonl",
            configs=_MATH_SUBJECTS, gold=_boxed,
        ),
        HubTask(
            "math500", "500 problems of MATH", "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", "test",
            Fields("problem", "answer", id="unique_id"), "not stated (MATH: MIT)", 2048, "math500.jsonl",
        ),
        HubTask(
            "aime24", "AIME 2024 I and II", "HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a", "train",
            Fields("problem", "answer"), "not stated", 4096, "aime24.jsonl",
        ),
        HubTask(
            "aime25", "AIME 2025 I and II", "math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b", "test",
            Fields("problem", "answer"), "see the data set's card", 4096, "aime25.jsonl",
        ),
        HubTask(
            "amc23", "AMC 12 2023, with numeric answers", "math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", "test",
            Fields("question", "answer"), "see the data set's card", 4096, "amc23.jsonl",
        ),
        HubTask(
            "minerva", "272 science problems of Minerva", "math-ai/minervamath", "ee46ddc498933b1977577953250ca5c66be64f96", "test",
            Fields("question", "answer"), "see the data set's card", 2048, "minerva.jsonl",
        ),
        HubTask(
            "olympiadbench", "674 olympiad problems, text only, English", "math-ai/olympiadbench",
            "4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84", "test",
            Fields("question", "final_answer"), "see the data set's card", 4096, "olympiadbench.jsonl", gold=_listed,
        ),
    )
}  # fmt: skip


def rows(entry: HubTask) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The numbered rows of a data set, with golds in the answer column. Raises BadRequest when it cannot be loaded."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise BadRequest(
            f"task {entry.name!r} comes from the hub and needs `pip install datasets`, or --data-dir with {entry.local}"
        ) from error
    number = 0
    for config in entry.configs:
        try:
            found = load_dataset(entry.repo, config, split=entry.split, revision=entry.revision)
        except (OSError, ValueError) as error:
            raise BadRequest(f"task {entry.name!r}: {entry.repo}@{entry.revision} could not be loaded: {error}", param="task") from error
        for row in found:
            number += 1
            yield number, {**row, entry.fields.answer: entry.gold(row.get(entry.fields.answer))}


def pinned(spec: str, fields: Fields) -> HubTask:
    """`hub:OWNER/NAME?revision=SHA&split=test&config=main`: any data set of the hub. Only a pinned one can be measured again."""
    repo, _, query = spec.removeprefix(PREFIX).partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = given.keys() - {"revision", "split", "config"}
    if unknown or "/" not in repo or not given.get("revision"):
        raise BadRequest(f"task {spec!r}: expected hub:OWNER/NAME?revision=SHA, and split and config where they are needed", param="task")
    return HubTask(
        spec,
        "",
        repo,
        given["revision"],
        given.get("split", "test"),
        fields,
        "see the data set's card",
        DEFAULT_MAX_TOKENS,
        local="",
        configs=(given.get("config"),),
    )
