"""Examples become tokens and a loss mask, exactly as a server renders the same chat. Knows tokenizers, and nothing of training.

The prompt's tokens are those a server computes for the chat with its generation prompt; the completion's tokens follow as they
would be generated, up to and with the end token. Nothing is cut: a row that is too long is the caller's to refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from redraft.records import Record
from redraft.types import Message
from trainer.data.rows import Example
from trainer.errors import BadRow

IGNORED = -100
"""The label of a token that is not trained."""


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    eos_token_id: int | None
    pad_token_id: int | None
    chat_template: str | None

    def apply_chat_template(
        self, conversation: list[Message], *, tokenize: bool, add_generation_prompt: bool = ..., continue_final_message: bool = ...
    ) -> str: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: Sequence[int]) -> str: ...

    def save_pretrained(self, save_directory: Path) -> object: ...


@dataclass(frozen=True, slots=True)
class Rendered:
    """One example as tokens; the completion ends with the end token. `where` names its row."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    where: str
    rejected: tuple[int, ...] | None = None
    item: Record | None = None
    """For `rft`, where there is no completion yet: the row."""

    def __len__(self) -> int:
        return len(self.prompt) + max(len(self.completion), len(self.rejected or ()))

    @property
    def input_ids(self) -> list[int]:
        return [*self.prompt, *self.completion]

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * len(self.prompt) + list(self.completion)


class Renderer:
    """Renders examples with one tokenizer. `end_ids` are the tokens at which the served model stops."""

    def __init__(self, tokenizer: Tokenizer, end_ids: Collection[int] = ()) -> None:
        if not tokenizer.chat_template:
            raise BadRow("model", "chat_template", "expected the tokenizer to have one; a base model without it cannot be served as a chat")
        own = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
        self.tokenizer = tokenizer
        self.end_ids = frozenset((*own, *end_ids))

    def render(self, example: Example) -> Rendered:
        """Tokens and mask of one example; raises `BadRow` where the served form could not be matched."""
        prompt = self._text(example.prompt, generate=True)
        if example.item is not None:
            return Rendered(self._ids(prompt), (), example.where, item=example.item)
        rejected = None if example.rejected is None else self._completion(example, prompt, example.rejected)
        return Rendered(self._ids(prompt), self._completion(example, prompt, example.completion), example.where, rejected)

    def reply_start(self) -> str:
        """What the chat template puts before a reply that is to be generated."""
        chat: tuple[Message, ...] = ({"role": "user", "content": "?"},)
        return self._text(chat, generate=True).removeprefix(self._text(chat, generate=False))

    def _completion(self, example: Example, prompt: str, reply: str) -> tuple[int, ...]:
        whole = self._text((*example.prompt, {"role": "assistant", "content": reply}), generate=False)
        if not whole.startswith(prompt):
            raise BadRow(
                example.where,
                "prompt",
                "the chat template renders the prompt in another way when a reply follows; it cannot be trained as it is served",
            )
        if any(token in self.end_ids for token in self._ids(reply)):
            raise BadRow(example.where, "completion", "expected no end token inside its text")
        ids = self._ids(whole[len(prompt) :])
        end = next((place for place, token in enumerate(ids) if token in self.end_ids), None)
        if end is None:
            ends = ", ".join(map(str, sorted(self.end_ids))) or "none is known"
            raise BadRow(
                example.where, "completion", f"the chat template ends a reply with no end token ({ends}): the model would not learn to stop"
            )
        if end == 0:
            raise BadRow(example.where, "completion", "expected something to train; the loss mask is empty")
        return ids[: end + 1]

    def _text(self, chat: Sequence[Message], *, generate: bool) -> str:
        return self.tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=generate)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))
