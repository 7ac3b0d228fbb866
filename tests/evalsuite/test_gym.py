"""Problems of reasoning-gym: reproducible, apart from those to train on, and with golds that are true and can be graded."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import metadata

import pytest
import sympy

from evalsuite import checker
from evalsuite.tasks import Problem, borrowed, gym, load
from redraft.errors import BadRequest

ALL = [*gym.MIXES, *(f"{gym.PREFIX}{name}" for name in gym.FAMILIES)]
SLOW = f"{gym.PREFIX}simple_integration"
"""Made by SymPy: fewer rows of it are looked at."""


def rows_of(name: str, rows: int = 50) -> tuple[Problem, ...]:
    return gym.generate(name, 5, rows // 3 if name == SLOW else rows)


@pytest.mark.parametrize("name", ALL)
def test_a_longer_task_begins_with_the_shorter_and_another_seed_has_other_problems(name: str) -> None:
    assert gym.generate(name, 3, 10) == gym.generate(name, 3, 6) + gym.generate(name, 3, 4, start=6)
    assert gym.generate(name, 3, 2) != gym.generate(name, 4, 2)


def test_problems_are_the_same_in_every_process() -> None:
    script = f"""if True:
        import hashlib
        from evalsuite.tasks import gym
        for name in {ALL}:
            print(hashlib.sha256(repr(gym.generate(name, 1, 8)).encode()).hexdigest())
    """
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={"PYTHONHASHSEED": seed}) for seed in "12"
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second
    assert len(set(first.split())) == len(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_gold_is_right_by_the_checker_and_its_neighbour_wrong(name: str) -> None:
    for problem in rows_of(name):
        assert problem.problem, problem
        assert checker.is_equal(problem.answer, f"Thus the answer is \\boxed{{{problem.answer}}}."), problem
        assert checker.is_equal(problem.answer, problem.answer), problem
        assert not checker.is_equal(problem.answer, f"Thus the answer is \\boxed{{{_neighbour(problem.answer)}}}."), problem


def _neighbour(answer: str) -> str:
    """The answer with its last number one higher."""
    last = list(re.finditer(r"\d+", answer))[-1]
    return f"{answer[: last.start()]}{int(last[0]) + 1}{answer[last.end() :]}"


def _exact(expression: str) -> sympy.Expr:
    return sympy.sympify(expression, rational=True)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _expression(text: str) -> sympy.Expr:
    found = re.search(r"[^:]*?:\s*([-\d. +*()]+?)(?: =|\. Give.*)?$|Calculate (.*)\.$", text)
    assert found, text
    return _exact(found[1] or found[2])


def _divisor(text: str, gold: str) -> bool:
    return math.gcd(*_numbers(text.partition(":")[2])) == int(gold)


def _multiple(text: str, gold: str) -> bool:
    return math.lcm(*_numbers(text.partition(":")[2])) == int(gold)


def _bits(text: str, gold: str) -> bool:
    return _numbers(text)[-1].bit_count() == int(gold)


def _dice(text: str, gold: str) -> bool:
    dice = [int(sides) for sides in re.findall(r"1d(\d+)", text.partition("What")[0])]
    least = int(re.findall(r"rolling (\d+) or higher", text)[0])
    ways = {0: 1}
    for sides in dice:
        totals = [(total + face, count) for total, count in ways.items() for face in range(1, sides + 1)]
        ways = {total: sum(count for other, count in totals if other == total) for total, _ in totals}
    return Fraction(sum(count for total, count in ways.items() if total >= least), math.prod(dice)) == Fraction(gold)


def _solves(text: str, gold: str) -> bool:
    found = re.search(r": (.*) = (.*)$", text)
    assert found, text
    (letter,) = set(re.findall(r"[a-z]", found[1]))
    symbol = sympy.Symbol(letter)
    difference = sympy.sympify(found[1], {letter: symbol}) - sympy.Integer(found[2])
    return sympy.degree(difference, symbol) == 1 and difference.subs(symbol, int(gold)) == 0


def _complex(text: str, gold: str) -> bool:
    line = text.partition(": ")[2].translate(str.maketrans("×÷", "*/"))
    return sympy.expand(_exact(re.sub(r"([\d.]+)i", r"\1*I", line)), complex=True) == _exact(re.sub(r"([\d.]+)i", r"\1*I", gold))


def _antiderivative(text: str, gold: str) -> bool:
    integrand, _, variable = text.splitlines()[0].partition("∫ ")[2].rpartition(" d")
    return gold.endswith(" + C") and sympy.expand(sympy.diff(gold, variable) - sympy.sympify(integrand)) == 0


def _base(text: str, gold: str) -> bool:
    found = re.search(r"the base-(\d+) number (\d+) to base-(\d+)", text.replace("binary", "base-2"))
    assert found, text
    return int(found[2], int(found[1])) == int(gold, int(found[3]))


def _primes(text: str, gold: str) -> bool:
    first, last = _numbers(text)
    return sympy.primepi(last) - sympy.primepi(first - 1) == int(gold)


TRUE: dict[str, Callable[[str, str], bool]] = {
    **dict.fromkeys(
        ("chain_sum", "basic_arithmetic", "products", "decimal_chain_sum"), lambda text, gold: _expression(text) == _exact(gold)
    ),
    "gcd": _divisor,
    "lcm": _multiple,
    "count_bits": _bits,
    "dice": _dice,
    "simple_equations": _solves,
    "complex_arithmetic": _complex,
    "simple_integration": _antiderivative,
    "base_conversion": _base,
    "count_primes": _primes,
}
"""What can be computed again from the text alone. The legs of animals and the stories of GSM8K cannot."""


def _of_a_family() -> Iterator[tuple[str, Problem]]:
    for name in TRUE:
        yield from ((name, problem) for problem in rows_of(f"{gym.PREFIX}{name}", 30))
    for mix, families in gym.MIXES.items():
        yield from ((families[i % len(families)].name, problem) for i, problem in enumerate(gym.generate(mix, 0, 64)))


def test_golds_are_what_sympy_finds() -> None:
    wrong = [problem for name, problem in _of_a_family() if name in TRUE and not TRUE[name](problem.problem, problem.answer)]
    assert wrong == []


def test_only_what_nobody_can_compute_from_the_text_is_not_computed_again() -> None:
    assert gym.FAMILIES.keys() - TRUE.keys() == {"leg_counting", "gsm_symbolic"}


def test_a_story_has_steps_that_end_at_its_gold() -> None:
    for problem in rows_of(f"{gym.PREFIX}gsm_symbolic"):
        assert problem.solution is not None
        assert problem.solution.endswith(f"\n\\boxed{{{problem.answer}}}")
        assert "####" not in problem.solution


@pytest.mark.parametrize("name", [*gym.MIXES, "reasoning-gym:products", "reasoning-gym:gsm_symbolic"])
def test_training_problems_are_never_those_that_measure(name: str) -> None:
    measured = {p.problem for seed in range(2) for p in gym.generate(name, seed, 150)}
    trained = {p.problem for seed in range(2) for p in gym.generate(f"{name}-train", seed, 600)}
    assert not measured & trained
    assert len(trained) > 600


def test_two_wordings_of_one_problem_are_on_one_side() -> None:
    assert gym.is_held_out("Solve for x: 3*x + 7 = 22") == gym.is_held_out("Determine the value of y that satisfies: 3*y + 7 = 22")
    assert gym.is_held_out("the GCD of 12, 30") == gym.is_held_out("the divisor of 30 and 12")
    assert len({gym.is_held_out(f"{i} + 1") for i in range(40)}) == 2


def test_tasks_are_loaded_by_name_with_seed_limit_and_examples() -> None:
    task = load("reasoning-gym:gcd@3", limit=4, num_fewshot=2)
    assert (task.name, len(task.problems), task.problems[1].id) == ("reasoning-gym:gcd@3", 4, "reasoning-gym:gcd@3/1")
    assert task.shots_source == "reasoning-gym:gcd-train@3"
    assert task.fingerprint == load("reasoning-gym:gcd@3", limit=1).fingerprint != load("reasoning-gym:gcd", limit=1).fingerprint
    assert metadata.version("reasoning-gym") in task.fingerprint
    assert (load("redraft-gym", limit=1).max_tokens, load("redraft-gym-hard", limit=1).max_tokens) == (512, 1024)
    with pytest.raises(BadRequest, match="has no train split"):
        load("redraft-gym-train", limit=1, num_fewshot=1)


@pytest.mark.parametrize("name", ["reasoning-gym:sudoku", "reasoning-gym:", "reasoning-gym:gcd-hard", "reasoning-gym:redraft-gym"])
def test_a_family_that_cannot_be_graded_is_refused_with_those_that_can(name: str) -> None:
    with pytest.raises(BadRequest, match=r"the families of reasoning-gym that can be graded are chain_sum, .*simple_equations"):
        load(name)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", none)
    with pytest.raises(BadRequest, match=r"is not installed: pip install --no-deps reasoning-gym==\d"):
        load("redraft-gym")


def test_the_rest_of_the_package_is_neither_run_nor_in_the_way() -> None:
    script = """if True:
        import json, sys
        import evalsuite.cli
        before = [m for m in sys.modules if m.startswith("reasoning_gym")]
        from evalsuite.tasks import gym
        gym.generate("redraft-gym", 0, 7)
        print(json.dumps([before, [m for m in sys.modules if m.startswith("reasoning_gym")]]))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before == []
    assert "reasoning_gym.arithmetic.gcd" in after
    assert not {"reasoning_gym", "reasoning_gym.arithmetic", "reasoning_gym.algebra", "reasoning_gym.games"} & set(after)


def test_the_empty_packages_are_gone_after_an_error_too() -> None:
    with pytest.raises(ModuleNotFoundError), borrowed.opened(["arithmetic.nothing"]):
        pass
    assert "reasoning_gym" not in sys.modules
    assert importlib.util.find_spec("reasoning_gym") is not None
