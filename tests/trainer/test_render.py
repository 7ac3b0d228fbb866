"""What is trained is what is served: token by token, with the end token in the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redraft import prompts
from trainer.data.rows import Example
from trainer.errors import BadRow
from trainer.fitting.base import load_renderer
from trainer.fitting.render import IGNORED, Renderer

PROBLEM, RESPONSE, BODY = "What is 12 + 30?", "12 + 30 = 43. The answer is \\boxed{43}.", "Step 1 is false: 12 + 30 = 42."


@pytest.fixture
def critique() -> Example:
    return Example(prompts.critique_messages(PROBLEM, RESPONSE), prompts.critique_reply(BODY, prompts.WRONG), "rows.jsonl:1")


def served(tokenizer: Any, chat: list[dict[str, str]], **how: bool) -> list[int]:
    """A prompt's tokens as an OpenAI-compatible server computes them: the chat template, then the tokenizer with no tokens of its own."""
    text = tokenizer.apply_chat_template(chat, tokenize=False, **how)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_the_prompt_is_the_servers(tokenizer: Any, critique: Example) -> None:
    rendered = Renderer(tokenizer).render(critique)
    assert list(rendered.prompt) == served(tokenizer, list(critique.prompt), add_generation_prompt=True)


def test_a_continued_critique_is_a_prefix_of_the_trained_tokens(tokenizer: Any, critique: Example) -> None:
    rendered = Renderer(tokenizer).render(critique)
    begun = [*critique.prompt, {"role": "assistant", "content": prompts.verdict_prefix(BODY)}]
    prefix = served(tokenizer, begun, continue_final_message=True)
    assert rendered.input_ids[: len(prefix)] == prefix
    assert tokenizer.decode(rendered.input_ids[len(prefix) :]) == " wrong [END]<|im_end|>"


def test_the_whole_reply_is_trained_and_the_prompt_is_not(tokenizer: Any, critique: Example) -> None:
    rendered = Renderer(tokenizer).render(critique)
    trained = [token for token, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(trained) == prompts.critique_reply(BODY, prompts.WRONG) + "<|im_end|>"
    assert rendered.labels[-1] == tokenizer.eos_token_id


def test_an_end_token_that_only_the_generation_config_names_counts(tokenizer: Any, critique: Example) -> None:
    end = tokenizer.eos_token_id
    tokenizer.eos_token = "<|endoftext|>"
    with pytest.raises(BadRow, match="no end token"):
        Renderer(tokenizer).render(critique)
    assert Renderer(tokenizer, [end]).render(critique).completion[-1] == end


def test_generation_config_is_read(tiny_model: Path) -> None:
    assert load_renderer(tiny_model).end_ids == {2}


def test_an_empty_mask_is_refused(tokenizer: Any) -> None:
    with pytest.raises(BadRow, match="loss mask is empty"):
        Renderer(tokenizer).render(Example(prompts.critique_messages("a", "b"), "", "x:1"))


def test_an_end_token_inside_the_reply_is_refused(tokenizer: Any) -> None:
    with pytest.raises(BadRow, match="no end token inside"):
        Renderer(tokenizer).render(Example(prompts.critique_messages("a", "b"), "one<|im_end|>two", "x:1"))


def test_a_template_that_rewrites_the_prompt_is_refused(tokenizer: Any, critique: Example) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>{% endif %}"
    )
    with pytest.raises(BadRow, match="cannot be trained as it is served"):
        Renderer(tokenizer).render(critique)


def test_no_template_no_training(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(BadRow, match="chat_template"):
        Renderer(tokenizer)
