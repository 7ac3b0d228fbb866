"""A chosen mix of right and wrong: critiques by their conclusion, responses by their label. Draws by a seed, keeps the order.

Rows that are neither (a response that failed, a critique that could not be had) are left out and counted.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from redraft import prompts, records
from trainer.data import tables
from trainer.data.rows import Row
from trainer.data.tables import Place
from trainer.errors import BadConfig
from trainer.stages.critique import CRITIQUE

LEFT_OUT = "left out"


def select(source: Place, output: Path, *, right: float | None, limit: int | None, seed: int) -> Counter[str]:
    """Write as many rows as the mix allows, at most `limit`. Counts both sides, and what is neither."""
    rows = [(_side(Row(record, where)), record) for where, record in tables.read(source)]
    places = {name: [at for at, (conclusion, _) in enumerate(rows) if conclusion == name] for name in (prompts.RIGHT, prompts.WRONG)}
    rights, wrongs = (len(places[name]) for name in (prompts.RIGHT, prompts.WRONG))
    take = mix(rights, wrongs, right, limit)
    chance = random.Random(f"select:{seed}")
    chosen = sorted(at for name, count in zip(places, take, strict=True) for at in chance.sample(places[name], count))
    if not chosen:
        raise BadConfig(f"{source}: {rights} right and {wrongs} wrong rows allow no row with right={right}", param="right")
    records.write_atomic(output, "".join(json.dumps(rows[at][1], ensure_ascii=False) + "\n" for at in chosen))
    return +Counter([*(rows[at][0] for at in chosen), *(side for side, _ in rows if side == LEFT_OUT)])


def _side(row: Row) -> str:
    if "error" in row.record or row.record.get("outcome", CRITIQUE) != CRITIQUE:
        return LEFT_OUT
    field = "conclusion" if "conclusion" in row.record else "label"
    side = row.text(field)
    if side not in (prompts.RIGHT, prompts.WRONG):
        raise row.bad(field, f"expected {prompts.RIGHT!r} or {prompts.WRONG!r}, found {side!r}")
    return side


def mix(rights: int, wrongs: int, right: float | None, limit: int | None) -> tuple[int, int]:
    """How many of each to take: the most there can be in these shares."""
    share = rights / (rights + wrongs) if right is None and rights + wrongs else right or 0.0
    total = min(
        [rights + wrongs if limit is None else limit, *([rights / share] if share else []), *([wrongs / (1 - share)] if share < 1 else [])]
    )
    take_right = min(rights, round(total * share))
    return take_right, min(wrongs, int(total) - take_right)
