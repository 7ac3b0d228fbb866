"""The order of problems in reinforcement fine-tuning. Imports torch: import this module only where training begins."""

from __future__ import annotations

import random
from collections.abc import Iterator

from torch.utils.data import Sampler


class Groups(Sampler[int]):
    """Problems in a seeded order, each `generations` times in a row; the problems of a step come `repeats` times, as TRL asks for them.

    The order depends on seed and epoch alone. A last step that is not full is filled up from the epoch's beginning: none is left out.
    """

    def __init__(self, count: int, per_step: int, generations: int, repeats: int, seed: int | None) -> None:
        self.count = count
        self.per_step = per_step
        self.generations = generations
        self.repeats = repeats
        self.seed = seed
        """None: in the order of the rows."""
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.per_step) * self.per_step * self.generations * self.repeats

    def __iter__(self) -> Iterator[int]:
        order = list(range(self.count))
        if self.seed is not None:
            random.Random(f"{self.seed}:{self.epoch}").shuffle(order)
        for start in range(0, self.count, self.per_step):
            step = [order[place % self.count] for place in range(start, start + self.per_step)]
            for _ in range(self.repeats):
                for index in step:
                    yield from [index] * self.generations
