"""Data sets of the Hugging Face hub, each at a pinned revision, and copies of them. Imports `datasets` only when rows are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from evalsuite.tasks.files import Fields, Raw
from redraft.errors import BadRequest
from redraft.prompts import SOLVE_SYSTEM

DEFAULT_MAX_TOKENS = 1024
PREFIX = "hub:"


Row = Mapping[str, Any]


def _as_it_is(answer: object) -> object:
    return answer


def _solution(row: Row) -> object:
    return row.get("solution")


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
    worked: Callable[[Row], object] = _solution
    """From a row to its solution in words, where it has one: what a few-shot example shows."""
    system: str = SOLVE_SYSTEM
    num_fewshot: int = 0
    """Examples before the problem unless a run says otherwise: none, as chat models are measured."""
    base_fewshot: int = 0
    """How many the field gives to base models."""


def _after_hashes(solution: object) -> str:
    return str(solution).rsplit("####", 1)[-1].strip().replace(",", "")


def _before_hashes(row: Row) -> object:
    """GSM8K's solution as a person would write it: without the marks of a calculator and the line of hashes."""
    return re.sub(r"<<[^<>]*>>", "", str(row.get("answer"))).rsplit("####", 1)[0].strip()


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
            worked=_before_hashes, base_fewshot=5,
        ),
        HubTask(
            "math", "competition problems, test split, 7 subjects", "EleutherAI/hendrycks_math",
            "21a5633873b6a120296cce3e2df9d5550074f4a3", "test", Fields("problem", "solution"), "MIT", 2048, "math_test.jsonl",
            configs=_MATH_SUBJECTS, gold=_boxed, base_fewshot=4,
        ),
        HubTask(
            "math500", "500 problems of MATH", "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", "test",
            Fields("problem", "answer", id="unique_id"), "not stated (MATH: MIT)", 2048, "math500.jsonl", base_fewshot=4,
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
            Fields("question", "answer"), "see the data set's card", 2048, "minerva.jsonl", base_fewshot=4,
        ),
        HubTask(
            "olympiadbench", "674 olympiad problems, text only, English", "math-ai/olympiadbench",
            "4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84", "test",
            Fields("question", "final_answer"), "see the data set's card", 4096, "olympiadbench.jsonl", gold=_listed,
        ),
    )
}  # fmt: skip


_MATH_TRAIN = replace(HUB["math"], name="math train", split="train", local="math_train.jsonl")

TRAIN: Mapping[str, HubTask] = {
    "gsm8k": replace(HUB["gsm8k"], name="gsm8k train", split="train", local="gsm8k_train.jsonl"),
    "math": _MATH_TRAIN,
    "math500": _MATH_TRAIN,
}
"""The train splits that few-shot examples are drawn from. The other data sets have none."""

WORKED = "worked solution"
"""The column that `in_terms_of` adds to a row."""


def fields_of(entry: HubTask, reference: str | None) -> Fields:
    """The columns of a row that `in_terms_of` made."""
    return replace(entry.fields, solution=WORKED, reference=reference)


def in_terms_of(entry: HubTask, row: Row) -> Row:
    """A row of the data set with the gold in its answer column and the solution in one of its own."""
    return {**row, entry.fields.answer: entry.gold(row.get(entry.fields.answer)), WORKED: entry.worked(row)}


def rows(entry: HubTask, copy: Path | None = None) -> Iterator[Raw]:
    """The numbered rows of a data set, or of the copy of it in a folder, each `in_terms_of` its entry. Raises BadRequest without it."""
    number = 0
    for config in entry.configs:
        for row in _loaded(entry, config, copy):
            number += 1
            yield number, in_terms_of(entry, row)


def _loaded(entry: HubTask, config: str | None, copy: Path | None) -> Iterator[Row]:
    try:
        from datasets import load_dataset
        from httpx import HTTPError
    except ImportError as error:
        raise BadRequest(f"task {entry.name!r} comes from the hub and needs `pip install datasets`{_instead(entry)}") from error
    try:
        if copy is None:
            yield from load_dataset(entry.repo, config, split=entry.split, revision=entry.revision)
        else:
            inner = copy / config if config is not None and (copy / config).is_dir() else None
            yield from load_dataset(str(inner or copy), None if inner else config, split=entry.split, streaming=True)
    except (OSError, ValueError, HTTPError) as error:
        where = f"{entry.repo}@{entry.revision}" if copy is None else str(copy)
        raise BadRequest(f"task {entry.name!r}: {where} could not be loaded: {error}{_instead(entry)}", param="task") from error


def _instead(entry: HubTask) -> str:
    """What to do without the hub."""
    if not entry.local:
        return ""
    return (
        f". Without the hub, give --data-dir DIR, with the rows in DIR/{entry.local} (or .csv, .parquet), either with the data set's own "
        f"columns or with `problem` and `answer`, or with a copy of the data set in DIR/{entry.repo}"
    )


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
