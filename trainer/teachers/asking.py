"""What a model is asked as a teacher, and how its reply is read. These prompts are never trained on: the critic's are `redraft.prompts`.

Two forms: `paper`, a short free judgement as in Critique Fine-Tuning (arXiv 2501.17703), and `structured`, where each step is judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from redraft import parse
from redraft.prompts import CONCLUSION, CRITIQUE_START, END, RIGHT, WRONG
from redraft.types import Message, Verdict

VERSION = 1
"""Raised whenever the same response would be asked about, or the same reply be read, in another way."""

PAPER_SYSTEM = "You are an expert in mathematics and science."
PAPER = (
    "A student tried to answer the question below. Explain in short whether the student's solution is correct. If it is not, say where it "
    "goes wrong and give the correct answer within \\boxed{{}}.\n\nQuestion:\n{problem}\n\nStudent's solution:\n{response}\n\n"
    f'Put your judgement on the last line, as "{CONCLUSION} {RIGHT} {END}" or "{CONCLUSION} {WRONG} {END}".'
)
STRUCTURED_SYSTEM = "You judge worked solutions. You work out every step yourself before you call it correct or incorrect."
STRUCTURED = (
    "Question:\n{problem}\n\nSolution to judge:\n{response}\n\nJudge it in this form, in plain text:\n\n"
    "Step 1: what the step should come to, what the solution has, and whether that is correct or incorrect\n"
    "Step 2: the same, and so on until the first incorrect step, or the last step if all are correct\n"
    "First error: the number of the first incorrect step, or none\n"
    "Why: what is wrong with that step (leave this line out if there is none)\n"
    "Fix: what the step should be (leave this line out if there is none)\n"
    "Derivation: the correct steps from the question to the answer\n"
    "Answer: \\boxed{{the correct answer}}\n"
    f"{CONCLUSION} {RIGHT} {END} if the solution is correct, or {CONCLUSION} {WRONG} {END} if it is not"
)
THOUGHT = "</think>"
FIRST_ERROR = re.compile(r"^\W*first error\W*[:=]\W*(.+?)\W*$", re.IGNORECASE | re.MULTILINE)
CONCLUDES = re.compile(re.escape(CONCLUSION), re.IGNORECASE)
STEP = re.compile(r"^\W*step\s*\d+\b", re.IGNORECASE | re.MULTILINE)
NO_ERROR = re.compile(r"(?:none|no error|no step|n/?a)\b", re.IGNORECASE)


class Form(StrEnum):
    """How the teacher is asked."""

    PAPER = "paper"
    STRUCTURED = "structured"


@dataclass(frozen=True, slots=True)
class Judged:
    """A critique as it is trained on: the judgement without its conclusion, and the conclusion. `first_error` is what the form names."""

    body: str
    conclusion: str
    first_error: str | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A reply that is no critique, and why."""

    reason: str


def ask(form: Form, problem: str, response: str) -> tuple[Message, ...]:
    """The chat that asks for one critique."""
    system, asked = (PAPER_SYSTEM, PAPER) if form is Form.PAPER else (STRUCTURED_SYSTEM, STRUCTURED)
    return ({"role": "system", "content": system}, {"role": "user", "content": asked.format(problem=problem, response=response)})


def read(form: Form, reply: str, finish_reason: str) -> Judged | Unusable:
    """The critique in a reply. One that was cut off, concludes nothing, or contradicts itself is unusable."""
    text = reply.rpartition(THOUGHT)[2].partition(END)[0].strip()
    if not text:
        return Unusable(f"the reply is empty ({finish_reason})")
    verdict = parse.conclusion(text)
    if verdict is None:
        cut = finish_reason == "length"
        return Unusable(
            "it was cut off at the token limit, before its conclusion" if cut else f"it has no line `{CONCLUSION} {RIGHT}/{WRONG}`"
        )
    end = [match.start() for match in CONCLUDES.finditer(text)][-1]
    body = text[:end].strip(" \n*#_-").removeprefix(CRITIQUE_START.strip()).strip()
    if not body:
        return Unusable("it concludes without a judgement")
    if CONCLUSION in body:
        return Unusable(f"it has more than one {CONCLUSION!r}")
    conclusion = RIGHT if verdict is Verdict.CORRECT else WRONG
    return Judged(body, conclusion) if form is Form.PAPER else _structured(body, conclusion)


def _structured(body: str, conclusion: str) -> Judged | Unusable:
    named = FIRST_ERROR.findall(body)
    if len(named) != 1 or not STEP.search(body):
        return Unusable("it has not the form asked for: lines `Step N:`, and one line `First error:`")
    error = None if NO_ERROR.match(named[0]) else named[0]
    if (error is None) != (conclusion == RIGHT):
        return Unusable(f"it contradicts itself: first error {named[0]!r}, conclusion {conclusion}")
    return Judged(body, conclusion, error)
