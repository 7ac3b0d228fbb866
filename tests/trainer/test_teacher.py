"""The symbolic teacher: what it finds, that all it asserts is true, and that it says so when it cannot judge."""

from __future__ import annotations

import dataclasses
import random

import pytest

from evalsuite import tasks
from redraft import prompts
from trainer.algebra.equations import Truth, find
from trainer.algebra.problems import solve
from trainer.stages.assertions import DENIAL
from trainer.stages.inject import corruptions
from trainer.teachers.judge import Finding, Judgement, Key, judge
from trainer.teachers.symbolic import Approach, CannotJudge, Critique, SymbolicTeacher
from trainer.teachers.wordings import Wording

from .conftest import BoxChecker

CHAIN, BOXES = "What is 4 + 3 - 2 + 10?", "Ada has 3 boxes of 4 apples and eats 5. How many are left?"
GCD = "What is the greatest common divisor of 48 and 36?"
FRACTION = "Simplify the fraction \\frac{92}{524} to its lowest terms."
CLIPS = "Ada sold 48 clips in April and half as many in May. How many did she sell in all?"
STEPS = "3 * 4 = 12. 12 - 5 = 7."


def judged(problem: str, response: str, key: Key | None = None) -> Judgement:
    return judge(problem, response, BoxChecker().extract(response), key or Key())


@pytest.mark.parametrize(
    ("problem", "response", "key", "finding", "answer"),
    [
        (CHAIN, "4 + 3 = 7\n7 - 2 = 5\n5 + 10 = 15. \\boxed{15}", Key(), Finding.SOUND, "15"),
        (CHAIN, "4 + 3 = 7\n7 - 2 = 6\n6 + 10 = 16. \\boxed{16}", Key(), Finding.FALSE_STEP, "15"),
        (CHAIN, "4 + 3 = 7\n7 - 2 = 5\n\\boxed{5}", Key(), Finding.ASTRAY, "15"),
        (CHAIN, "4 + 3 = 7\n7 - 2 = 5\n5 + 10 = 15. \\boxed{16}", Key(), Finding.LOST, "15"),
        ("What is 12 * 13?", "\\boxed{154}", Key(), Finding.ASTRAY, "156"),
        ("Solve for x: 3x + 4 = 19", "3x = 23. \\boxed{23/3}", Key(), Finding.FALSE_STEP, "5"),
        ("Solve for x: 3x + 4 = 19", "3x = 15\nx = 5. \\boxed{5}", Key(), Finding.SOUND, "5"),
        (GCD, "gcd(48, 36) = 4. \\boxed{4}", Key(), Finding.FALSE_STEP, "12"),
        (GCD, "48 = 12 * 4, 36 = 12 * 3. \\boxed{12}", Key(), Finding.SOUND, "12"),
        (GCD, "\\boxed{6}", Key(), Finding.ASTRAY, "12"),
        (FRACTION, "92 / 4 = 23. 524 / 4 = 131. \\boxed{23/131}", Key(), Finding.SOUND, "23/131"),
        (FRACTION, "92 / 4 = 23. 524 / 4 = 121. \\boxed{23/121}", Key(), Finding.FALSE_STEP, "23/131"),
        ("What is 1/2 + 1/3?", "1/2 + 1/3 = 2/5. \\boxed{2/5}", Key(), Finding.FALSE_STEP, "5/6"),
        (CLIPS, "48/2 = <<48/2=24>>24 in May. 48+24 = <<48+24=71>>71 in all. The answer is 71", Key("72"), Finding.FALSE_STEP, "72"),
        (CLIPS, "48/2 = <<48/2=24>>24 in May. 48+24 = <<48+24=72>>72 in all. The answer is 72", Key("72"), Finding.SOUND, "72"),
        (BOXES, "3 * 4 = 11. Then 11 - 5 = 6. \\boxed{6}", Key(), Finding.FALSE_STEP, "7"),
        (BOXES, "3 + 4 = 7. Then 7 - 5 = 2. \\boxed{2}", Key("7", STEPS), Finding.ASTRAY, "7"),
        (BOXES, "3 + 4 = 8. Then 8 - 5 = 3. \\boxed{3}", Key("7", STEPS), Finding.FALSE_STEP, "7"),
        (BOXES, "3 + 4 = 8. Then 8 - 5 = 3. \\boxed{3}", Key("7"), Finding.FALSE_STEP, None),
        (BOXES, "3 * 4 = 12. Then 12 - 5 = 7. \\boxed{7}", Key("7"), Finding.SOUND, "7"),
    ],
)
def test_findings(problem: str, response: str, key: Key, finding: Finding, answer: str | None) -> None:
    found = judged(problem, response, key)
    assert (found.finding, found.answer) == (finding, answer)


@pytest.mark.parametrize(
    ("problem", "response", "key", "reason"),
    [
        (BOXES, "3 * 4 = 12. Then 12 - 5 = 7. \\boxed{7}", Key(), "cannot be solved from its text"),
        (BOXES, "3 + 4 = 7. Then 7 - 5 = 2. \\boxed{2}", Key("7"), "where it went astray"),
        (BOXES, "It is \\boxed{7}", Key("7"), "no step can be checked"),
        (CHAIN, "4 + 3 = 8, 8 - 3 + 10 = 15. \\boxed{15}", Key(), "yet the answer is right"),
        (CHAIN, "\\boxed{many}", Key(), "no number"),
    ],
)
def test_it_says_when_it_cannot_judge(problem: str, response: str, key: Key, reason: str) -> None:
    found = judged(problem, response, key)
    assert found.finding is Finding.CANNOT_JUDGE
    assert reason in found.reason


def test_the_first_false_step_is_named_and_later_ones_are_not() -> None:
    found = judged(CHAIN, "4 + 3 = 8\n8 - 2 = 5\n5 + 10 = 15. \\boxed{16}")
    assert [step.text for step in found.steps] == ["4 + 3 = 8"]


def test_steps_done_again_carry_the_correction() -> None:
    found = judged(BOXES, "3 * 4 = 11. 11 - 5 = 6. 6 * 11 = 66. \\boxed{66}")
    assert found.derivation == ("3 * 4 = 12", "12 - 5 = 7", "7 * 12 = 84")


@pytest.fixture(scope="module")
def many() -> list[tuple[str, str, Key, str]]:
    """Right and corrupted solutions of generated problems, with their labels."""
    checker, cases = BoxChecker(), []
    for family in ("redraft-arith", "redraft-arith-hard"):
        for problem in tasks.load(f"{family}@3", limit=60).problems:
            right = f"{problem.solution} \\boxed{{{problem.answer}}}"
            wrong = next(corruptions(right, random.Random(problem.id)), None)
            key = Key(problem.answer, problem.solution)
            cases.append((problem.problem, right, key, prompts.RIGHT))
            if wrong is not None and not checker.is_equal(problem.answer, checker.extract(wrong) or ""):
                cases.append((problem.problem, wrong, key, prompts.WRONG))
    return cases


@pytest.mark.parametrize("approach", list(Approach))
def test_every_conclusion_is_right_and_every_equation_asserted_holds(many: list[tuple[str, str, Key, str]], approach: Approach) -> None:
    teacher = SymbolicTeacher(BoxChecker(), seed=5, approach=approach)
    given = [(teacher.critique(problem, response, key), label, problem, key) for problem, response, key, label in many]
    critiques = [(one, label, problem, key) for one, label, problem, key in given if isinstance(one, Critique)]
    assert len(many) > 220
    assert len(critiques) >= 0.99 * len(many)
    for critique, label, problem, key in critiques:
        assert critique.conclusion == label
        assert critique.answer == key.gold
        solved = solve(problem)
        asserted = find(critique.body, solved.known if solved else None)
        assert asserted
        assert not [equation.text for equation in asserted if equation.truth is Truth.FALSE]


@pytest.mark.parametrize(
    ("problem", "response", "key", "body"),
    [
        (
            CHAIN,
            "4 + 3 = 7\n7 - 2 = 6\n6 + 10 = 16. \\boxed{16}",
            Key(),
            "Solved anew: 4 + 3 = 7, 7 - 2 = 5, 5 + 10 = 15.\nThe answer is \\boxed{15}.\nSolution 16: different."
            "\nFirst error: 7 - 2 = 5, solution 6.",
        ),
        (BOXES, f"{STEPS} \\boxed{{7}}", Key("7"), "Solved anew: 3 * 4 = 12, 12 - 5 = 7.\nThe answer is \\boxed{7}.\nSolution 7: same."),
        (
            BOXES,
            "3 * 4 = 12. 12 - 5 = 8. \\boxed{8}",
            Key("7"),
            "Solved anew: 3 * 4 = 12, 12 - 5 = 7.\nThe answer is \\boxed{7}.\nSolution 8: different.\nFirst error: 12 - 5 = 7, solution 8.",
        ),
        (BOXES, "3 + 4 = 7. \\boxed{7}", Key("7", STEPS), "Solved anew: 3 + 4 = 7.\nThe answer is \\boxed{7}.\nSolution 7: same."),
        (
            BOXES,
            "3 + 5 = 8. \\boxed{8}",
            Key("7", STEPS),
            "Solved anew: 3 * 4 = 12, 12 - 5 = 7.\nThe answer is \\boxed{7}.\nSolution 8: different.",
        ),
        (
            BOXES,
            f"{STEPS} \\boxed{{9}}",
            Key("7"),
            "Solved anew: 3 * 4 = 12, 12 - 5 = 7.\nThe answer is \\boxed{7}.\nSolution 9: different.",
        ),
    ],
)
def test_solved_first_and_compared_after(problem: str, response: str, key: Key, body: str) -> None:
    found = SymbolicTeacher(BoxChecker(), 0, Wording.PLAIN.wordings, Approach.SOLVE_FIRST).critique(problem, response, key)
    assert isinstance(found, Critique)
    assert found.body == body


def test_what_cannot_be_solved_is_not_critiqued_by_solving() -> None:
    response, key = "3 * 4 = 11. So there are six apples. \\boxed{6}", Key("7")
    stepwise = SymbolicTeacher(BoxChecker(), 0).critique(BOXES, response, key)
    assert isinstance(stepwise, Critique)
    assert stepwise.answer is None
    found = SymbolicTeacher(BoxChecker(), 0, approach=Approach.SOLVE_FIRST).critique(BOXES, response, key)
    assert found == CannotJudge("the problem cannot be solved without the response's steps")


def test_the_wording_varies_with_the_seed_and_is_fixed_by_it() -> None:
    response = "4 + 3 = 7\n7 - 2 = 6\n6 + 10 = 16. \\boxed{16}"
    bodies = set()
    for seed in range(20):
        first, again = (SymbolicTeacher(BoxChecker(), seed).critique(CHAIN, response, Key()) for _ in range(2))
        assert isinstance(first, Critique)
        assert first == again
        assert 0 <= first.body.find("7 - 2 = 5") < first.body.find("6")
        assert "7 - 2 = 6" not in first.body
        assert prompts.CONCLUSION not in first.body
        bodies.add(first.body)
    assert len(bodies) > 15


def test_plain_wording_says_each_thing_in_one_way() -> None:
    response = "4 + 3 = 7\n7 - 2 = 6\n6 + 10 = 16. \\boxed{16}"
    bodies = set()
    for seed in range(5):
        found = SymbolicTeacher(BoxChecker(), seed, Wording.PLAIN.wordings).critique(CHAIN, response, Key())
        assert isinstance(found, Critique)
        bodies.add(found.body)
    assert bodies == {
        "4 + 3 = 7, solution 7: same.\n7 - 2 = 5, solution 6: different.\nDone right: 4 + 3 = 7, 7 - 2 = 5, 5 + 10 = 15."
        "\nThe answer is \\boxed{15}."
    }


@pytest.mark.parametrize("wording", list(Wording))
def test_both_wordings_fill_every_occasion(wording: Wording) -> None:
    """Each phrase takes only what its occasion gives it."""
    given = {"left": "1 + 1", "true": "2", "said": "3", "step": "1 = 1", "variable": "x", "answer": "2"}
    for each in dataclasses.fields(wording.wordings):
        phrases = getattr(wording.wordings, each.name)
        if each.name != "numbered":
            assert [phrase.format(**given, **({"given": "3"} if each.name in {"lost", "same", "other"} else {})) for phrase in phrases]


def test_a_response_without_steps_is_worded_alike_until_its_verdict() -> None:
    teacher = SymbolicTeacher(BoxChecker(), 0)
    heads = {}
    for answer in ("156", "154"):
        found = [teacher.critique("What is 12 * 13?", f"\\boxed{{{answer}}}", Key(), sample) for sample in range(40)]
        heads[answer] = {one.body.splitlines()[-2].partition(" 12 *")[0] for one in found if isinstance(one, Critique)}
    assert heads["156"] == heads["154"]


def test_what_cannot_be_judged_is_no_critique() -> None:
    assert isinstance(SymbolicTeacher(BoxChecker(), 0).critique(BOXES, "It is \\boxed{7}", Key("7")), CannotJudge)


def test_denials_are_seen() -> None:
    assert DENIAL.search("But 7 - 2 is not 6")
    assert not DENIAL.search("7 - 2 = 6 holds")
