"""The checker beside math-verify on one table of answer pairs, in one process and one run.

    python benchmarks/checker.py                 accuracy, false positives and negatives, pairs per second
    python benchmarks/checker.py --fuzz 20000    random and mutated text: nothing may raise, hang, or be equal to what it is not

The peer gets its best known spelling: gold and prediction wrapped in dollar signs, LaTeX and plain extraction on. A pair that
makes a checker raise counts as answered «unequal». The table is ours, so read the accuracies as agreement with its labels.
"""

import argparse
import contextlib
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from evalsuite.checker import check, close, is_equal

TABLE = Path(__file__).parent.parent / "tests" / "evalsuite" / "checker" / "cases.jsonl"
Row: TypeAlias = dict[str, Any]
Checker: TypeAlias = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Score:
    checker: str
    pairs: int
    accuracy: float
    false_positives: int
    false_negatives: int
    raised: int
    pairs_per_second: float


def math_verify() -> Checker:
    """The peer, with its own time limit per pair."""
    from math_verify import parse, verify

    def wrapped(text: str) -> str:
        return text if "$" in text or "boxed" in text else f"${text}$"

    def checker(gold: str, pred: str) -> bool:
        return bool(verify(parse(wrapped(gold)), parse(wrapped(pred))))

    return checker


def measure(name: str, checker: Checker, rows: list[Row], repeat: int) -> Score:
    with contextlib.suppress(Exception):
        checker("\\sin 2x", "2\\sin x\\cos x")  # imports and worker starts are paid before the clock runs
    answers: list[bool] = []
    raised = 0
    started = time.perf_counter()
    for turn in range(repeat):
        for row in rows:
            try:
                answer = checker(row["gold"], row["pred"])
            except Exception:  # noqa: BLE001  # a peer may raise anything; that is a result
                answer, failed = False, True
            else:
                failed = False
            if turn == 0:
                answers.append(answer)
                raised += failed
    seconds = time.perf_counter() - started
    wrong = [(row["equal"], answer) for row, answer in zip(rows, answers, strict=True) if row["equal"] is not answer]
    positives = sum(answer for _, answer in wrong)
    return Score(name, len(rows), 1 - len(wrong) / len(rows), positives, len(wrong) - positives, raised, repeat * len(rows) / seconds)


def show(scores: list[Score]) -> None:
    print(f"{'checker':14} {'pairs':>6} {'accuracy':>9} {'false pos':>10} {'false neg':>10} {'raised':>7} {'pairs/s':>9}")
    for score in scores:
        row = f"{score.checker:14} {score.pairs:6} {score.accuracy:9.3f} {score.false_positives:10} {score.false_negatives:10}"
        print(f"{row} {score.raised:7} {score.pairs_per_second:9.0f}")
    if len(scores) > 1:
        print(f"\n{scores[0].checker} answers {scores[0].pairs_per_second / scores[1].pairs_per_second:.1f} times as many pairs a second")


def compare(rows: list[Row], repeat: int, as_json: bool) -> int:
    scores = [measure("evalsuite", is_equal, rows, repeat), measure("math-verify", math_verify(), rows, 1)]
    if as_json:
        print(json.dumps({"machine": platform.platform(), "python": platform.python_version(), "scores": [asdict(one) for one in scores]}))
    else:
        show(scores)
    return 0


# Fuzzing -------------------------------------------------------------------------------------------------------------------

PIECES = [
    *"0123456789xyabe+-*/^_=<>()[]{}|,.:;!%$&'\" \n\\",
    *("\\frac", "\\sqrt", "\\left", "\\right", "\\pm", "\\cup", "\\infty", "\\text{cm}", "\\text{and}", "\\boxed{"),
    *("\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "\\sin", "\\log", "\\pi", "\\{", "\\}", "^\\circ", "\\%", "\\$"),
    *("9^9^9", "100000!", " or ", "answer is ", "####", "\x00", "５", "²", "½", "∞", "\u202e", "__import__('os')"),
    *("\\le", "\\in", "_{10}", "1e999999999", "\\overline{3}", "f(x)=", "</think>"),
]


def mutated(text: str, source: random.Random) -> str:
    """The text with a few pieces inserted, removed, doubled or exchanged."""
    for _ in range(source.randint(1, 4)):
        place = source.randint(0, len(text))
        width = source.randint(0, 4)
        kind = source.randrange(4)
        if kind == 0:
            text = text[:place] + source.choice(PIECES) + text[place:]
        elif kind == 1:
            text = text[:place] + text[place + width :]
        elif kind == 2:
            text = text[:place] + text[place : place + width] * source.randint(2, 6) + text[place + width :]
        else:
            text = text[:place] + source.choice(PIECES) + text[place + width :]
    return text


def fuzz(rows: list[Row], count: int, seed: int) -> int:
    """Runs `count` pairs; a pair that raises, exceeds the wall limit by far, or is not equal to itself is printed."""
    source = random.Random(seed)
    golds = sorted({row["gold"] for row in rows})
    failures, slowest, slowest_pair = 0, 0.0, ("", "")
    for _ in range(count):
        gold = source.choice(golds)
        pred = mutated(gold, source) if source.random() < 0.7 else "".join(source.choices(PIECES, k=source.randint(1, 30)))
        started = time.perf_counter()
        try:
            check(gold, pred)
            check(pred, gold)
            check(pred, pred)
        except Exception as error:  # noqa: BLE001  # whatever is raised is what the run looks for
            failures += 1
            print(f"raised {type(error).__name__}: {gold!r} against {pred!r}")
        seconds = time.perf_counter() - started
        if seconds > slowest:
            slowest, slowest_pair = seconds, (gold, pred)
    print(f"{count} pairs, seed {seed}: {failures} raised; the slowest three checks took {slowest:.2f} s: {slowest_pair!r}")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="The checker beside math-verify, or under random input.")
    parser.add_argument("--cases", type=Path, default=TABLE, help="a JSONL file with gold, pred and equal")
    parser.add_argument("--repeat", type=int, default=3, help="passes of our checker over the table")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="check N random pairs instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = [json.loads(line) for line in options.cases.read_text(encoding="utf-8").splitlines()]
    try:
        return fuzz(rows, options.fuzz, options.seed) if options.fuzz else compare(rows, options.repeat, options.json)
    finally:
        close()


if __name__ == "__main__":
    sys.exit(main())
