"""A model in this process, with or without an adapter: greedy replies and next-token probabilities, in batches. For measuring where no
server is wanted. Imports torch, when it is made. Chats are rendered as a server renders them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redraft.critic import TOP_LOGPROBS
from redraft.types import Message
from trainer.fitting.base import base_folder, load_renderer

TAIL = 12
"""Tokens at the end of a reply in which a stop string is looked for."""
Chat = Sequence[Message]


@dataclass(frozen=True, slots=True)
class Written:
    """One reply. `whole` is False where it met the token limit."""

    text: str
    tokens: int
    whole: bool


class LocalModel:
    """`model` is a folder, a hub id, or the default model's name; `adapter` an adapter's folder."""

    def __init__(self, model: str, adapter: Path | None = None, *, batch_size: int = 16) -> None:
        import torch
        import transformers

        folder = base_folder(model)
        renderer = load_renderer(folder)
        self.tokenizer: Any = renderer.tokenizer
        self.end_ids = renderer.end_ids
        self.batch_size = batch_size
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" or torch.cpu._is_amx_tile_supported() else torch.float32
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        if adapter is not None:
            from peft import PeftModel

            loaded = PeftModel.from_pretrained(loaded, adapter)
        self.model: Any = loaded.to(self.device).eval()

    def write(
        self, chats: Sequence[Chat], *, max_tokens: int, stop: tuple[str, ...] = (), tell: Callable[[int], object] = lambda n: None
    ) -> list[Written]:
        """A greedy reply to each chat, or the rest of the one that it ends in, up to an end token or a stop string (which is left out)."""
        from transformers import GenerationConfig

        how = GenerationConfig(
            max_new_tokens=max_tokens, do_sample=False, eos_token_id=sorted(self.end_ids), pad_token_id=self.tokenizer.pad_token_id
        )
        found: dict[int, Written] = {}
        for places, ids, mask in self._batches(chats):
            ends = [_ends_at(stop, self.tokenizer, ids.shape[1])] if stop else []
            out = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=how, stopping_criteria=ends)
            for place, row in zip(places, out[:, ids.shape[1] :].tolist(), strict=True):
                found[place] = self._written(row, stop)
            tell(len(places))
        return [found[place] for place in range(len(chats))]

    def next_tokens(self, chats: Sequence[Chat]) -> list[dict[str, float]]:
        """For each chat the likeliest next tokens and their log-probabilities, as many as a server gives."""
        import torch

        found: dict[int, dict[str, float]] = {}
        for places, ids, mask in self._batches(chats):
            with torch.inference_mode():
                positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
                logits = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1).logits[:, -1]
                top = logits.float().log_softmax(dim=-1).topk(min(TOP_LOGPROBS, logits.shape[-1]))
            for place, values, tokens in zip(places, top.values.tolist(), top.indices.tolist(), strict=True):
                found[place] = {self.tokenizer.decode([token]): value for token, value in zip(tokens, values, strict=True)}
        return [found[place] for place in range(len(chats))]

    def _written(self, row: list[int], stop: tuple[str, ...]) -> Written:
        end = next((at for at, token in enumerate(row) if token in self.end_ids), None)
        text = self.tokenizer.decode(row if end is None else row[:end], skip_special_tokens=True)
        cut = min((text.index(mark) for mark in stop if mark in text), default=None)
        return Written(text if cut is None else text[:cut], len(row) if end is None else end + 1, end is not None or cut is not None)

    def _batches(self, chats: Sequence[Chat]) -> Iterator[tuple[list[int], Any, Any]]:
        """Places, token ids and attention masks of chats of like lengths, padded on the left."""
        import torch

        rendered = [self._ids(chat) for chat in chats]
        order = sorted(range(len(chats)), key=lambda place: len(rendered[place]))
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            width = max(len(rendered[place]) for place in places)
            gaps = [width - len(rendered[place]) for place in places]
            ids = torch.tensor(
                [[self.tokenizer.pad_token_id] * gap + rendered[place] for place, gap in zip(places, gaps, strict=True)], device=self.device
            )
            mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps], device=self.device)
            yield places, ids, mask

    def _ids(self, chat: Chat) -> list[int]:
        goes_on = chat[-1]["role"] == "assistant"
        text = self.tokenizer.apply_chat_template(
            list(chat), tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
        )
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def _ends_at(stop: tuple[str, ...], tokenizer: Any, prompt: int) -> Any:
    """A criterion by which a row of a batch ends once a stop string is in what was generated."""
    import torch
    from transformers import StoppingCriteria

    class EndsAt(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            tails = tokenizer.batch_decode(input_ids[:, max(prompt, input_ids.shape[1] - TAIL) :])
            return torch.tensor([any(mark in tail for mark in stop) for tail in tails], device=input_ids.device)

    return EndsAt()
