"""Where an activated LoRA begins to act: the tokens that wake it, and whether each prompt has them. Knows tokens, and nothing of training.

Before these tokens such an adapter is the base model, so that a server reuses the base's KV cache for all that stands there. The library
looks for their last occurrence in a sequence; one that stood in a reply would move the start, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.errors import BadConfig, BadRow
from trainer.fitting.render import Rendered, Renderer

REPLY = "reply"
"""The name for the text with which the chat template asks for a reply."""


def invocation_tokens(text: str, renderer: Renderer) -> tuple[int, ...]:
    """The tokens that wake the adapter."""
    asked = renderer.reply_start() if text == REPLY else text
    tokens = tuple(renderer.tokenizer.encode(asked, add_special_tokens=False))
    if not tokens:
        raise BadConfig("lora.alora_invocation: reply: the chat template adds nothing to ask for a reply; name a text", param="lora")
    return tokens


def begins_at(example: Rendered, tokens: Sequence[int]) -> int:
    """The place in the prompt from which the adapter acts on `example`."""
    place = _last(example.prompt, tokens)
    if place is None:
        raise BadRow(example.where, "prompt", f"does not hold lora.alora_invocation (tokens {list(tokens)}): the adapter would not act")
    for reply in (example.completion, example.rejected or ()):
        if _last((*example.prompt, *reply), tokens) != place:
            raise BadRow(example.where, "completion", "holds lora.alora_invocation again: the adapter would act only from there on")
    return place


def _last(sequence: Sequence[int], tokens: Sequence[int]) -> int | None:
    """Where `tokens` last begin in `sequence`."""
    places = range(len(sequence) - len(tokens), -1, -1)
    return next((place for place in places if tuple(sequence[place : place + len(tokens)]) == tuple(tokens)), None)
