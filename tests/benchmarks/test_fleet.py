"""The model of a fleet against queueing theory, and what it must keep."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks import scale_simulation
from benchmarks.fleet import POLICIES, Problem, Shape, Speed, simulate
from benchmarks.plot import Line, svg

ONE = Shape(drafts=1, batch=1)
SURE = [Problem(0, ((100, 0),))]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_place_is_the_queue_of_the_textbooks(load: float) -> None:
    """M/D/1: with a service of S seconds and a load of r, a loop takes S + r S / (2 (1 - r)) in the mean (Pollaczek and Khinchine)."""
    speed = Speed(0.01, 0.0, max_sequences=1)
    found = [simulate(SURE, ONE, speed, engines=1, rate=load, policy="random", loops=6000, seed=seed) for seed in range(3)]
    mean = sum(run["seconds"]["mean"] for run in found) / 3
    assert mean == pytest.approx(1 + load / (2 * (1 - load)), rel=0.1)
    assert sum(run["utilisation"] for run in found) / 3 == pytest.approx(load, rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_shared_places_are_processor_sharing(load: float) -> None:
    """M/G/1-PS: where b completions halve, third, ... each other, the mean is S / (1 - r)."""
    speed = Speed(0.0, 0.01, max_sequences=10_000)
    found = [simulate(SURE, ONE, speed, engines=1, rate=load, policy="random", loops=6000, seed=seed) for seed in range(3)]
    assert sum(run["seconds"]["mean"] for run in found) / 3 == pytest.approx(1 / (1 - load), rel=0.1)


def test_an_empty_engine_takes_as_long_as_its_longest_draft() -> None:
    problem = Problem(0, ((50, 0),))
    found = simulate([problem], Shape(drafts=4, batch=4, confidence=1.0), Speed(0.1, 0.01), engines=1, rate=1e-6, policy="random", loops=50)
    assert found["seconds"]["p50"] == pytest.approx(50 * 0.14, rel=0.02)
    assert found["drafts"] == 4


def test_what_is_decided_is_cancelled_and_counted() -> None:
    sure, slow = (10, 0), (1000, 0)
    found = simulate([Problem(0, (sure,) * 99 + (slow,))], Shape(), Speed(0.1, 0.0), engines=1, rate=1e-6, policy="random", loops=400)
    assert found["tokens"] <= 5 * 11
    assert found["open"] == 0


MIXED = [Problem(60, tuple((40 + 5 * k, k % 3) for k in range(16)))]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_numbers(policy) -> None:
    first, again = [
        simulate(MIXED, Shape(critiqued=True), Speed(0.06, 0.007), engines=5, rate=0.05, policy=policy, loops=200) for _ in range(2)
    ]
    assert first == again
    assert 0 < first["utilisation"] <= 1
    assert first["seconds"]["p50"] <= first["seconds"]["p95"]


def test_routers_do_what_they_are_for() -> None:
    found = {
        policy: simulate(MIXED, Shape(critiqued=True), Speed(0.06, 0.007), engines=20, rate=0.05, policy=policy, loops=600)
        for policy in POLICIES
    }
    assert found["least_loaded"]["seconds"]["p95"] < found["random"]["seconds"]["p95"]
    assert found["prefix_affine"]["cached_prompt_share"] > 3 * found["random"]["cached_prompt_share"]


def test_the_speed_of_one_machine_is_the_line_through_its_points() -> None:
    speed = scale_simulation.fitted([(1, 0.07), (5, 0.11), (16, 0.22)], prefill_ratio=0.1, max_sequences=9)
    assert (speed.base_s, speed.per_sequence_s) == (pytest.approx(0.06), pytest.approx(0.01))
    assert len(scale_simulation.committed_points()) == 3


def test_a_measured_machine_is_checked_on_its_own_rate() -> None:
    """What the model itself made for one engine is found again."""
    speed = Speed(0.06, 0.007)
    problems = [Problem(30, ((20, 0), (30, 1), (40, 0), (25, 0)))]
    truth = simulate(problems, Shape(), speed, engines=1, rate=0.1, policy="random", loops=1200, seed=77)
    rows = [{"seconds": truth["seconds"]["p50"], "tokens": 1, "prompt": 30, "responses": [[20, 0], [30, 1], [40, 0], [25, 0]]}] * 20
    measured = {"speed": {"base_s": 0.06, "per_sequence_s": 0.007, "prefill_ratio": 0.05, "max_sequences": 256}, "rate": 0.1, "loops": rows}
    found = scale_simulation.checked(measured)
    assert found["predicted"]["p50"] == pytest.approx(found["measured"]["p50"], rel=0.1)


@pytest.mark.parametrize("log", [False, True])
def test_a_figure_is_an_image_with_all_its_points(log: bool) -> None:
    lines = [Line("a < b", [(1, 2), (10, 3)], [(1, 3), (2, 4)]), Line("c", [(100, 0.5)], marks_only=True)]
    root = ET.fromstring(svg("t", "x", "y", lines, log_x=log))
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(circles) == 3
    assert all(0 <= float(circle.attrib["cx"]) <= 640 and 0 <= float(circle.attrib["cy"]) <= 360 for circle in circles)
