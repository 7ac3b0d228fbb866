"""A discrete-event model of loops over a fleet of engines. Runs no model and no server; deterministic under a seed.

An engine writes its completions side by side: with b of them one step takes `base_s + b * per_sequence_s` and gives each one token. More
than `max_sequences` wait their turn. The tokens of a prompt that its cache does not hold cost `prefill_ratio` of a generated one. Loops
arrive as a Poisson process, draw drafts in batches, stop by the kernel's own rule, and let the critic judge and revise what stays open.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from redraft import vote

Policy = Literal["random", "least_loaded", "prefix_affine"]
POLICIES: tuple[Policy, ...] = ("random", "least_loaded", "prefix_affine")
CROWDED = 1.5
"""A prefix-affine router leaves an engine that has so many times the fleet's mean load."""
WARM_UP = 0.4
"""This share of the loops, the first to arrive, is not counted."""


@dataclass(frozen=True)
class Speed:
    """How fast one engine is."""

    base_s: float
    per_sequence_s: float
    prefill_ratio: float = 0.05
    max_sequences: int = 256

    def step_s(self, sequences: int) -> float:
        return self.base_s + self.per_sequence_s * sequences

    def tokens_per_s(self, sequences: int) -> float:
        return sequences / self.step_s(sequences)


@dataclass(frozen=True)
class Problem:
    """What a trace knows of a problem: its prompt, and `(tokens, answer)` of each of its responses; None where there was no answer."""

    prompt: int
    responses: tuple[tuple[int, int | None], ...]


@dataclass(frozen=True)
class Shape:
    """What a loop may do, as in `LoopOptions`, and what its critic costs: nothing where it is not asked (`critiqued` is false)."""

    drafts: int = 5
    batch: int = 5
    confidence: float = 0.95
    critiqued: bool = False
    critique_tokens: int = 96
    judged: int = 4


@dataclass(eq=False)
class Completion:
    """One completion under way: generated tokens, and the work they and the uncached prompt are together."""

    tokens: int
    work: float
    done: Callable[[Completion], None]
    ends: float = 0.0
    began: float | None = None
    over: bool = False


class Engine:
    """Processor sharing in virtual time: all active completions advance alike, so only the one that ends next is looked at."""

    def __init__(self, speed: Speed) -> None:
        self.speed = speed
        self.active = 0
        self.waiting: deque[Completion] = deque()
        self.version = 0
        self.busy_s = 0.0
        self._virtual = 0.0
        self._at = 0.0
        self._heap: list[tuple[float, int, Completion]] = []
        self._count = 0

    def advance(self, now: float) -> None:
        if self.active:
            self._virtual += (now - self._at) / self.speed.step_s(self.active)
            self.busy_s += now - self._at
        self._at = now

    def join(self, sequence: Completion) -> None:
        if self.active >= self.speed.max_sequences:
            self.waiting.append(sequence)
            return
        sequence.began, sequence.ends = self._virtual, self._virtual + sequence.work
        self._count += 1
        heapq.heappush(self._heap, (sequence.ends, self._count, sequence))
        self.active += 1

    def leave(self, sequence: Completion) -> int:
        """End a completion, whole or cancelled; tokens that it had generated."""
        sequence.over = True
        if sequence.began is None:
            return 0
        self.active -= 1
        written = min(sequence.tokens, max(0, int(self._virtual - sequence.began - (sequence.work - sequence.tokens) + 1e-9)))
        while self.waiting and self.active < self.speed.max_sequences:
            following = self.waiting.popleft()
            if not following.over:
                self.join(following)
        return written

    def next_end(self, now: float) -> float | None:
        while self._heap and self._heap[0][2].over:
            heapq.heappop(self._heap)
        if not self._heap:
            return None
        return now + max(0.0, self._heap[0][0] - self._virtual) * self.speed.step_s(self.active)

    def due(self) -> Completion | None:
        while self._heap and self._heap[0][2].over:
            heapq.heappop(self._heap)
        if self._heap and self._heap[0][0] <= self._virtual + 1e-6:
            return self._heap[0][2]
        return None


class Fleet:
    """Engines, a router and the clock."""

    def __init__(self, engines: int, speed: Speed, policy: Policy, seed: int) -> None:
        self.engines = [Engine(speed) for _ in range(engines)]
        self.load = np.zeros(engines, dtype=np.int64)
        self.policy, self.rng, self.now = policy, random.Random(f"route {seed}"), 0.0
        self.prompts = self.cached = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    def run(self) -> None:
        while self._events:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def route(self, home: int | None) -> int:
        """The engine for a request of a loop that began on engine `home`."""
        if self.policy == "random":
            return self.rng.randrange(len(self.engines))
        if self.policy == "prefix_affine" and home is not None and self.load[home] <= CROWDED * (self.load.mean() + 1):
            return home
        return int(self.load.argmin())

    def submit(self, place: int, prompt: int, held: int, sequences: Sequence[tuple[int, Callable[[Completion], None]]]) -> list[Completion]:
        """One request: its completions share the prompt, of which the engine's cache holds `held` tokens."""
        engine = self.engines[place]
        engine.advance(self.now)
        made = []
        for position, (tokens, done) in enumerate(sequences):
            uncached = prompt - held if position == 0 else 0
            made.append(Completion(tokens, tokens + uncached * engine.speed.prefill_ratio, done))
            engine.join(made[-1])
        self.prompts += prompt
        self.cached += held
        self.load[place] += len(sequences)
        self._schedule(place)
        return made

    def cancel(self, place: int, sequence: Completion) -> int:
        engine = self.engines[place]
        engine.advance(self.now)
        written = engine.leave(sequence)
        self.load[place] -= 1
        self._schedule(place)
        return written

    def _schedule(self, place: int) -> None:
        engine = self.engines[place]
        engine.version += 1
        when, version = engine.next_end(self.now), engine.version
        if when is not None:
            self.at(when, lambda: self._ended(place, version))

    def _ended(self, place: int, version: int) -> None:
        engine = self.engines[place]
        if engine.version != version:
            return
        engine.advance(self.now)
        while (sequence := engine.due()) is not None:
            engine.leave(sequence)
            self.load[place] -= 1
            sequence.done(sequence)
        self._schedule(place)


@dataclass
class Told:
    """What became of one loop."""

    seconds: float = 0.0
    tokens: int = 0
    drafts: int = 0
    open: bool = False


@dataclass
class Loop:
    """One loop: drafts in batches until the vote is decided, then critiques and revisions where it stays open."""

    fleet: Fleet
    problem: Problem
    shape: Shape
    rng: random.Random
    over: Callable[[Told], None]
    told: Told = field(default_factory=Told)
    home: int | None = None
    seen: set[int] = field(default_factory=set)
    votes: Counter[int] = field(default_factory=Counter)
    running: dict[int, tuple[int, Completion]] = field(default_factory=dict)
    began: float = 0.0

    def start(self) -> None:
        self.began = self.fleet.now
        self._batch()

    def _batch(self) -> None:
        n = min(self.shape.batch, self.shape.drafts - self.told.drafts)
        sizes = (1, n - 1) if self.told.drafts == 0 and n > 1 else (n,)
        self.told.drafts += n
        for size in sizes:
            responses = self.rng.choices(self.problem.responses, k=size)
            place = self._place()
            held = self.problem.prompt if place in self.seen else 0
            self.seen.add(place)
            self._send(place, self.problem.prompt, held, [(tokens, self._draft(answer)) for tokens, answer in responses])

    def _place(self) -> int:
        place = self.fleet.route(self.home)
        self.home = place if self.home is None else self.home
        return place

    def _send(self, place: int, prompt: int, held: int, wanted: Sequence[tuple[int, Callable[[Completion], None]]]) -> None:
        for sequence in self.fleet.submit(place, prompt, held, wanted):
            self.running[id(sequence)] = (place, sequence)

    def _draft(self, answer: int | None) -> Callable[[Completion], None]:
        def done(sequence: Completion) -> None:
            self._whole(sequence)
            if answer is not None:
                self.votes[answer] += 1
            left = len(self.running) + self.shape.drafts - self.told.drafts
            weights = [float(count) for count in self.votes.values()]
            if left and vote.decided(weights, left, swing=0.0, confidence=self.shape.confidence):
                self._stop()
            elif not self.running:
                self._batch() if self.told.drafts < self.shape.drafts else self._judge()

        return done

    def _whole(self, sequence: Completion) -> None:
        del self.running[id(sequence)]
        self.told.tokens += sequence.tokens

    def _stop(self) -> None:
        for place, sequence in self.running.values():
            self.told.tokens += self.fleet.cancel(place, sequence)
        self.running.clear()
        self._finish()

    def _judge(self) -> None:
        answers = min(len(self.votes), self.shape.judged)
        self.told.open = len(self.votes) > 1
        if not self.told.open or not self.shape.critiqued:
            self._finish()
            return
        for _ in range(answers):
            response = self.rng.choice(self.problem.responses)[0]
            self._send(self._place(), self.problem.prompt + response, 0, [(self.shape.critique_tokens, self._critique(response))])

    def _critique(self, response: int) -> Callable[[Completion], None]:
        def done(sequence: Completion) -> None:
            self._whole(sequence)
            place, known = self._place(), self.problem.prompt + response
            held = known if place in self.seen else 0
            again = self.rng.choice(self.problem.responses)[0]
            self._send(place, known + self.shape.critique_tokens, held, [(again, self._revision)])

        return done

    def _revision(self, sequence: Completion) -> None:
        self._whole(sequence)
        if not self.running:
            self._finish()

    def _finish(self) -> None:
        self.told.seconds = self.fleet.now - self.began
        self.over(self.told)


def simulate(
    problems: Sequence[Problem], shape: Shape, speed: Speed, *, engines: int, rate: float, policy: Policy, loops: int, seed: int = 0
) -> dict[str, Any]:
    """`rate` is loops a second and engine. Returns seconds, tokens and utilisation of what came after the warm-up."""
    fleet, rng = Fleet(engines, speed, policy, seed), random.Random(f"loops {seed}")
    told: list[Told] = []
    when = warm = 0.0
    first = int(loops * WARM_UP)
    busy: list[float] = []

    def look() -> None:
        for engine in fleet.engines:
            engine.advance(fleet.now)
        busy.append(sum(engine.busy_s for engine in fleet.engines))

    for number in range(loops):
        when += rng.expovariate(rate * engines)
        if number in (first, loops - 1):
            fleet.at(when, look)
            warm = when if number == first else warm
        counted = number >= first
        one = Loop(fleet, rng.choice(problems), shape, random.Random(rng.random()), told.append if counted else lambda found: None)
        fleet.at(when, one.start)
    fleet.run()
    seconds = sorted(one.seconds for one in told)
    return {
        "engines": engines,
        "policy": policy,
        "loops_per_s_and_engine": rate,
        "loops": len(told),
        "seconds": {"mean": statistics.fmean(seconds), "p50": statistics.median(seconds), "p95": seconds[int(0.95 * (len(seconds) - 1))]},
        "tokens": statistics.fmean(one.tokens for one in told),
        "drafts": statistics.fmean(one.drafts for one in told),
        "open": statistics.fmean(one.open for one in told),
        "utilisation": (busy[-1] - busy[0]) / engines / (when - warm),
        "cached_prompt_share": fleet.cached / fleet.prompts if fleet.prompts else 0.0,
    }
