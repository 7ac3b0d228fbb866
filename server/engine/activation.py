"""From which token on an adapter acts, and what follows for a block of the KV cache and for the tokens of a step. Knows no vLLM.

A plain LoRA acts from token 0. An activated one (arXiv 2504.12397) acts from the last place in the prompt where its invocation tokens
begin, as PEFT has it; all before that is the base model's, and so is everything where the prompt does not hold them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[Any]"
Key: TypeAlias = tuple[Any, ...]
NEVER = sys.maxsize
"""The place of an activated adapter whose tokens the prompt does not hold."""
CONFIG = "adapter_config.json"
FIELD = "alora_invocation_tokens"


def invocation_of(folder: Path) -> tuple[int, ...] | None:
    """The tokens that wake the adapter in `folder`; None for a plain one."""
    found = json.loads((folder / CONFIG).read_bytes()).get(FIELD)
    return tuple(found) if found else None


def last(sequence: Sequence[int], sought: Sequence[int]) -> int | None:
    """Where `sought` last begins in `sequence`."""
    wanted, size = list(sought), len(sought)
    for place in range(len(sequence) - size, -1, -1):
        if sequence[place] == wanted[0] and list(sequence[place : place + size]) == wanted:
            return place
    return None


def acts_from(prompt: Sequence[int], invocation: Sequence[int] | None) -> int:
    """The first token of a request that its adapter changes."""
    if invocation is None:
        return 0
    place = last(prompt, invocation)
    return NEVER if place is None else place


def block_keys(keys: tuple[Key, ...] | None, start: int, end: int, place: int) -> tuple[Key, ...] | None:
    """What distinguishes the block of tokens `start` to `end` from one of the same tokens: the adapter only where it has acted.

    A block that the adapter begins to act in says where: the same tokens may be a prompt whose last invocation stands elsewhere.
    """
    if keys is None or place <= start:
        return keys
    others = tuple(key for key in keys if key[0] != "lora")
    if place < end:
        return (*((*key, place - start) for key in keys if key[0] == "lora"), *others)
    return others or None


def adapters_of_tokens(adapters: Ints, scheduled: Ints, computed: Ints, places: Ints) -> Ints:
    """The adapter of each token of a step (0 is none), request by request.

    For each request: its adapter, how many tokens are scheduled, how many came before, and the place from which the adapter acts.
    """
    first = np.cumsum(scheduled) - scheduled
    position = np.arange(int(scheduled.sum())) + np.repeat(computed - first, scheduled)
    return np.where(position < np.repeat(places, scheduled), 0, np.repeat(adapters, scheduled))
