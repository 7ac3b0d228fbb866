"""One prompt: the tokens a critic is trained on are the tokens the server feeds it, to the last one before the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from redraft import prompts
from redraft.types import Message
from tests.e2e.conftest import Server
from trainer.data.rows import Example
from trainer.fitting.render import Renderer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BODY = "Step 1 adds 3 and 4 and says 8.\n\nThat is wrong: 3 + 4 = 7."


def served_tokens(served: Server, messages: tuple[Message, ...]) -> list[int]:
    ask: dict[str, Any] = {
        "model": served.model,
        "messages": list(messages),
        "add_generation_prompt": False,
        "continue_final_message": True,
    }
    reply = httpx.post(f"{served.engine_url}/tokenize", json=ask, timeout=30)
    found: list[int] = reply.raise_for_status().json()["tokens"]
    return found


@pytest.mark.parametrize("served", ["plugin"], indirect=True)
@pytest.mark.parametrize("word", [prompts.RIGHT, prompts.WRONG])
def test_training_and_serving_agree_token_by_token(served: Server, model: Path, word: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    ask = prompts.critique_messages("Tom has 3 apples and buys 4. How many?", "3 + 4 = 8.\nThe answer is \\boxed{8}.")
    trained = Renderer(tokenizer).render(Example(prompt=ask, completion=prompts.critique_reply(BODY, word), where="test")).input_ids
    for beginning in (prompts.CRITIQUE_START, prompts.verdict_prefix(BODY)):
        tokens = served_tokens(served, (*ask, {"role": "assistant", "content": beginning}))
        assert tokens == trained[: len(tokens)]
    assert tokenizer.decode(trained[len(tokens)]) == f" {word}"
    assert trained[-1] == tokenizer.eos_token_id
