"""Where an activated LoRA acts: held to a definition that looks at one token at a time."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from server.engine.activation import NEVER, acts_from, adapters_of_tokens, block_keys, invocation_of, last

BLOCK = 4
WAKING = (1, 2)


@pytest.mark.parametrize(
    ("sequence", "sought", "place"),
    [
        ([1, 2], [1, 2], 0),
        ([1, 2, 0, 1, 2, 0], [1, 2], 3),
        ([1, 1, 1], [1, 1], 1),
        ([1], [1, 2], None),
        ([], [1], None),
        ([2, 1], [1, 2], None),
    ],
)
def test_the_last_occurrence_counts(sequence: list[int], sought: list[int], place: int | None) -> None:
    assert last(sequence, sought) == place
    assert acts_from(sequence, sought) == (NEVER if place is None else place)
    assert acts_from(sequence, None) == 0


def test_a_plain_adapter_has_no_invocation(tmp_path: Path) -> None:
    for value, expected in ((None, None), ([], None), ([3, 4], (3, 4))):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 1, "alora_invocation_tokens": value}))
        assert invocation_of(tmp_path) == expected
    (tmp_path / "adapter_config.json").write_text("{}")
    assert invocation_of(tmp_path) is None


def test_tokens_of_a_mixed_batch_go_where_they_belong() -> None:
    dice = random.Random(0)
    for _ in range(300):
        rows = dice.randrange(1, 6)
        adapters = np.array([dice.randrange(3) for _ in range(rows)])
        scheduled, computed = (np.array([dice.randrange(low, 9) for _ in range(rows)]) for low in (1, 0))
        places = np.array([dice.choice([0, dice.randrange(18), NEVER]) for _ in range(rows)])
        expected = [
            adapters[row] if position >= places[row] else 0
            for row in range(rows)
            for position in range(computed[row], computed[row] + scheduled[row])
        ]
        assert adapters_of_tokens(adapters, scheduled, computed, places).tolist() == expected


def chain(tokens: Sequence[int], place: int, name: str | None) -> list[object]:
    """A name for each full block of a request, which covers all before it, as vLLM hashes them."""
    names: list[object] = []
    keys = None if name is None else (("lora", name, f"/{name}"),)
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        end = start + BLOCK
        before = names[-1] if names else None
        names.append((before, tuple(tokens[start:end]), block_keys(keys, start, end, place)))
    return names


def test_blocks_of_one_name_were_computed_alike() -> None:
    """Over every pair of requests: where names are equal, each token up to there went through the same weights."""
    dice, shared = random.Random(1), 0
    seen: dict[object, tuple[str | None, list[str | None]]] = {}
    for _ in range(4000):
        length = dice.randrange(2, 3 * BLOCK)
        tokens = [dice.randrange(3) for _ in range(length + dice.randrange(2 * BLOCK))]
        name = dice.choice([None, "a", "b", "plain"])
        place = acts_from(tokens[:length], None if name == "plain" else WAKING)
        wore = [name if name is not None and position >= place else None for position in range(len(tokens))]
        for number, block in enumerate(chain(tokens, place if name else 0, name)):
            computed = (name, wore[: (number + 1) * BLOCK])
            before = seen.setdefault(block, computed)
            assert before[1] == computed[1], (tokens, name, before)
            shared += before[0] != name
    assert shared > 500, "adapters and the base model share what is the base model's"


def test_other_keys_of_a_block_stay() -> None:
    lora, salt = ("lora", "a", "/a"), ("cache_salt", "x")
    assert block_keys((lora, salt), 0, 4, 8) == (salt,)
    assert block_keys((lora, salt), 0, 4, 2) == (("lora", "a", "/a", 2), salt)
    assert block_keys((lora, salt), 4, 8, 4) == (lora, salt)
    assert block_keys((lora,), 0, 4, NEVER) is None
    assert block_keys((lora,), 0, 4, 4) is None
    assert block_keys(None, 0, 4, 2) is None
