"""Sampling on vLLM's CPU backend: one random number a token instead of one for every word of the vocabulary, and no sort of all of it.

vLLM draws by Gumbel's trick, a hash and two logarithms for each logit, and sorts every row of the vocabulary for a top-p. For a model of
150,000 words that is a third of a step with many sequences, and with a top-p several steps. Here a token is drawn by inverting the
cumulative distribution, first among blocks of words, then within one; a top-k or top-p looks at the likeliest words and goes on to more
only where those do not settle it. The distribution (tests/server/test_cpu_sampling.py) and the words kept (tests/e2e/test_sampling.py) are
the same, the words that a given `seed` draws are not. `benchmarks/cpu_sampling.py` measures what it is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

BLOCK = 64
"""Words whose mass is summed before one of them is looked for."""
CHUNK = 600_000
"""Logits that are worked on at once: 2.4 MB, which stay in a core's cache."""
HEADS = (64, 1024)
"""So many of the likeliest words a top-k or top-p looks at; where neither settles it, at all."""
BELOW_ONE = 1.0 - 2.0**-53
"""The greatest chance there is: its product with a mass is below the mass, rounded too."""


def sample(logits: torch.Tensor, chances: torch.Tensor, k: torch.Tensor | None = None, p: torch.Tensor | None = None) -> torch.Tensor:
    """[rows] int64: of each row one word, drawn from the softmax of its logits, of which a top-k and then a top-p may keep a part.

    `logits` [rows, words] float32, not changed; `chances` [rows] float64 in [0, 1): the only randomness; `k` [rows], the number of words
    for none; `p` [rows] in (0, 1], 1 for none. Of words with equal logits top-k keeps all or none, as vLLM does.
    """
    rows, words = logits.shape
    drawn = torch.empty(rows, dtype=torch.int64)
    kept = torch.full((rows,), words) if k is None else k.long()
    mass = torch.ones(rows, dtype=torch.float64) if p is None else p.double()
    limited = (kept < words) | (mass < 1.0)
    size = max(1, CHUNK // words)
    for part in _parts(~limited, size):
        drawn[part] = _among_all(_blocks(logits[part]), chances[part])
    for part in _parts(limited, size):
        drawn[part] = _among_likeliest(logits[part], chances[part], kept[part], mass[part])
    return drawn.clamp_(max=words - 1)


def _parts(chosen: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
    """The numbers of the chosen rows, `size` at a time."""
    numbers = chosen.nonzero().squeeze(1)
    return numbers.split(size) if len(numbers) else ()


def _blocks(logits: torch.Tensor) -> torch.Tensor:
    """[rows, blocks, BLOCK]; what fills the last block up has no mass."""
    missing = -logits.shape[1] % BLOCK
    padded = torch.nn.functional.pad(logits, (0, missing), value=float("-inf")) if missing else logits
    return padded.view(len(logits), -1, BLOCK)


def _among_all(blocks: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    """A word of each row; `blocks` is overwritten."""
    masses = blocks.sub_(blocks.amax((1, 2), keepdim=True)).exp_()
    block, rest = _invert(masses.sum(2), chances)
    inside = masses[torch.arange(len(masses)), block]
    word, _ = _invert(inside, rest)
    return block * BLOCK + word


def _invert(masses: torch.Tensor, chances: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the cumulative mass of each row passes its chance, and how far into that place, in [0, 1): a chance again."""
    reached = masses.double().cumsum(1)
    target = (chances * reached[:, -1]).unsqueeze(1)
    place = torch.searchsorted(reached, target, right=True).clamp_(max=masses.shape[1] - 1)
    own = masses.gather(1, place).double()
    into = (target - (reached.gather(1, place) - own)) / own
    return place.squeeze(1), into.clamp_(0.0, BELOW_ONE).squeeze(1)


def _among_likeliest(logits: torch.Tensor, chances: torch.Tensor, k: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """A word of each row out of those that its top-k and top-p keep."""
    words = logits.shape[1]
    total = torch.full((len(logits),), torch.nan, dtype=torch.float64)
    uncounted = k == words
    if uncounted.any():
        total[uncounted] = (logits[uncounted] - logits[uncounted].amax(1, keepdim=True)).exp_().sum(1, dtype=torch.float64)
    drawn = torch.empty(len(logits), dtype=torch.int64)
    open_rows = torch.arange(len(logits))
    for head in (*(size for size in HEADS if size < words), words):
        values, ids = likeliest(logits[open_rows], head)
        masses, settled = _kept(values, total[open_rows], k[open_rows], p[open_rows], words)
        place, _ = _invert(masses, chances[open_rows])
        drawn[open_rows] = ids.gather(1, place.unsqueeze(1)).squeeze(1)
        open_rows = open_rows[~settled]
        if not len(open_rows):
            break
    return drawn


def likeliest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` greatest of each row and where they are, the greatest first: they lie in the `count` blocks of the greatest peaks."""
    blocks = _blocks(logits)
    if count >= blocks.shape[1]:
        return logits.sort(dim=1, descending=True) if count >= logits.shape[1] else logits.topk(count, dim=1)
    nearest = blocks.amax(2).topk(count, dim=1).indices
    inside = blocks.gather(1, nearest.unsqueeze(2).expand(-1, -1, BLOCK)).flatten(1)
    values, places = inside.topk(count, dim=1)
    return values, nearest.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def _kept(values: torch.Tensor, total: torch.Tensor, k: torch.Tensor, p: torch.Tensor, words: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mass of each of the likeliest words, 0 where it is not kept; and of which rows no word beyond them can be kept.

    `values` [rows, count], the greatest first; `total`, the mass of all words of a row, where that of the greatest is 1.
    """
    count = values.shape[1]
    masses = (values - values[:, :1]).double().exp_()
    counted = k < words
    least = values.gather(1, (k.clamp(max=count) - 1).unsqueeze(1))
    masses = masses.masked_fill_(counted.unsqueeze(1) & (values < least), 0.0)
    reached = masses.cumsum(1)
    wanted = p * torch.where(counted, reached[:, -1], total)
    settled = torch.where(counted, (k <= count) & (values[:, -1:] < least).squeeze(1), reached[:, -1] >= wanted)
    return masses.masked_fill_(reached - masses >= wanted.unsqueeze(1), 0.0), settled | (count == words)


def install() -> None:
    """Draw so wherever vLLM samples on a CPU; what it can do and this cannot (double noise, processed log-probabilities) stays its own."""
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    if getattr(TopKTopPSampler, "redraft_samples", False):
        return
    own = TopKTopPSampler.forward_cpu

    def forward_cpu(
        self: Any, logits: torch.Tensor, generators: dict[int, torch.Generator], k: torch.Tensor | None, p: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.use_fp64_gumbel or self.logprobs_mode.startswith("processed"):
            return own(self, logits, generators, k, p)
        chances = torch.rand(len(logits), dtype=torch.float64)
        for row, generator in generators.items():
            chances[row] = torch.rand((), generator=generator, dtype=torch.float64)
        return sample(logits, chances, k, p), None

    TopKTopPSampler.forward_cpu = forward_cpu
    TopKTopPSampler.redraft_samples = True
