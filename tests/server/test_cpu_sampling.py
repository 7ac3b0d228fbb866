"""Drawing a word on a CPU: over an even grid of chances every word comes as often as its probability says, give or take one."""

from __future__ import annotations

import math

import pytest
import torch

from server.engine import cpu_sampling
from server.engine.cpu_sampling import BLOCK, HEADS, likeliest, sample

GRID = 4000


def counts(logits: torch.Tensor, k: int | None = None, p: float | None = None) -> torch.Tensor:
    """How often each word of one row is drawn when the chances are GRID even steps."""
    chances = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    drawn = sample(
        logits.expand(GRID, -1).contiguous(),
        chances,
        None if k is None else torch.full((GRID,), k, dtype=torch.int32),
        None if p is None else torch.full((GRID,), p),
    )
    return drawn.bincount(minlength=len(logits))


def probabilities(logits: torch.Tensor, k: int | None = None, p: float | None = None) -> list[float]:
    """The definition, word by word: top-k keeps what equals the k-th; top-p keeps a word while those above it have less than p."""
    masses = [math.exp(value - float(logits.max())) for value in logits.tolist()]
    if k is not None:
        least = sorted(masses, reverse=True)[k - 1]
        masses = [mass if mass >= least else 0.0 for mass in masses]
    if p is not None:
        above, wanted = 0.0, p * sum(masses)
        for place in sorted(range(len(masses)), key=lambda i: -masses[i]):
            masses[place], above = masses[place] if above < wanted else 0.0, above + masses[place]
    return [mass / sum(masses) for mass in masses]


def row(words: int, spread: float = 3.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(words, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("words", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 1000, 7 * BLOCK])
def test_every_word_comes_as_often_as_it_should(words: int) -> None:
    logits = row(words)
    expected = torch.tensor(probabilities(logits)) * GRID
    assert (counts(logits) - expected).abs().max() <= 1.01


@pytest.mark.parametrize(
    ("k", "p"),
    [(1, None), (7, None), (HEADS[0] - 1, None), (HEADS[0] + 5, None), (None, 0.3), (None, 0.9), (None, 0.999), (20, 0.8), (500, 0.95)],
)
@pytest.mark.parametrize("spread", [3.0, 0.1], ids=["peaked", "flat"])
def test_top_k_and_top_p_keep_what_they_should(k: int | None, p: float | None, spread: float) -> None:
    logits = row(2500, spread)
    expected = torch.tensor(probabilities(logits, k, p)) * GRID
    found = counts(logits, k, p)
    assert (found - expected).abs().max() <= 1.01
    assert not found[expected == 0].any()


def test_equal_logits_are_all_kept_by_top_k() -> None:
    logits = torch.zeros(3000)
    logits[::10] = 2.0
    found = counts(logits, k=5)
    assert set(found.nonzero().squeeze(1).tolist()) == set(range(0, 3000, 10))


def test_what_is_ruled_out_is_never_drawn_at_the_ends_of_chance() -> None:
    logits = torch.full((4, 3 * BLOCK), float("-inf"))
    logits[:, BLOCK + 3], logits[:, BLOCK + 9] = 0.0, -1.0
    chances = torch.tensor([0.0, 1.0 - 2.0**-53, 0.0, 1.0 - 2.0**-53], dtype=torch.float64)
    k = torch.tensor([3 * BLOCK, 3 * BLOCK, 9, 9])
    assert sample(logits, chances, k).tolist() == [BLOCK + 3, BLOCK + 9, BLOCK + 3, BLOCK + 9]


def test_a_row_knows_nothing_of_its_companions(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, words = 9, 700
    logits = torch.stack([row(words, seed=seed) for seed in range(rows)])
    chances = torch.linspace(0.05, 0.95, rows, dtype=torch.float64)
    k = torch.tensor([words, 3, words, 90, words, words, 1, words, 600])
    p = torch.tensor([1.0, 1.0, 0.5, 0.9, 1.0, 0.99, 0.5, 1.0, 1.0])
    kept = logits.clone()
    together = sample(logits, chances, k, p)
    assert torch.equal(logits, kept)
    monkeypatch.setattr(cpu_sampling, "CHUNK", words)
    assert torch.equal(sample(logits, chances, k, p), together)
    for i in range(rows):
        assert sample(logits[i : i + 1], chances[i : i + 1], k[i : i + 1], p[i : i + 1]) == together[i]


def test_the_likeliest_are_those_of_a_sort() -> None:
    logits = torch.stack([row(5000, seed=seed) for seed in range(3)])
    for count in (1, 10, 64, 1024, 5000):
        values, places = likeliest(logits, count)
        assert torch.equal(values, logits.sort(dim=1, descending=True).values[:, :count])
        assert torch.equal(logits.gather(1, places), values)


def test_a_row_that_is_no_number_ends_nothing() -> None:
    logits = torch.full((2, BLOCK + 1), float("nan"))
    drawn = sample(logits, torch.tensor([0.1, 0.9], dtype=torch.float64), torch.tensor([BLOCK + 1, 5]))
    assert all(0 <= word <= BLOCK for word in drawn.tolist())
