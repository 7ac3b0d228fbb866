"""A model in this process: batches change nothing, stop strings cut, and a verdict is read as a server reads it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM

from redraft import prompts
from redraft.types import Verdict
from trainer.errors import BadRow
from trainer.fitting.local import LocalModel
from trainer.stages.evaluate import Judgement, judge, labelled, tally

CHATS = [prompts.solve_messages(text) for text in ("What is 1 + 1?", "What is the sum of 12 and 30, and what is 7?", "Why?")]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LocalModel:
    made = LocalModel(str(tiny_model), batch_size=3)
    exact = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    made.model = made.model.float()
    made.model.load_state_dict(exact.state_dict())  # where it is run in bfloat16, loading has rounded the weights
    return made


def test_a_batch_writes_what_each_chat_alone_does(model: LocalModel) -> None:
    together = model.write(CHATS, max_tokens=6)
    assert together == [model.write([chat], max_tokens=6)[0] for chat in CHATS]
    assert {reply.whole for reply in together} == {False}
    assert {reply.tokens for reply in together} == {6}


def test_a_stop_string_ends_a_reply_and_is_left_out(model: LocalModel) -> None:
    whole = model.write(CHATS[:1], max_tokens=12)[0].text
    mark = whole[4:6]
    (cut,) = model.write(CHATS[:1], max_tokens=12, stop=(mark,))
    assert cut.text == whole[: whole.index(mark)]
    assert cut.whole
    assert cut.tokens < 12


def test_next_tokens_are_the_models_probabilities(model: LocalModel, tiny_model: Path) -> None:
    alone = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    chat = (*CHATS[1], {"role": "assistant", "content": "It is 42.\n\nConclusion:"})
    found = model.next_tokens([CHATS[0], chat, CHATS[2]])[1]
    text = model.tokenizer.apply_chat_template(list(chat), tokenize=False, continue_final_message=True)
    assert text.endswith("Conclusion:")
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    expected = alone(torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1).topk(20)
    assert sorted(found.values(), reverse=True)[:5] == pytest.approx(expected.values.tolist()[:5], abs=1e-4)
    assert model.tokenizer.decode([int(expected.indices[0])]) == max(found, key=found.__getitem__)


def test_a_critic_is_asked_as_it_is_served(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def labels(chats: list[list[dict[str, str]]]) -> list[dict[str, float]]:
        asked.extend(chats)
        return [{" right": math.log(0.6), " wrong": math.log(0.2)}, {" the": 0.0}]

    monkeypatch.setattr(model, "next_tokens", labels)
    right, silent = judge(model, [("p", "r"), ("q", "s")], 4)
    assert (right.verdict, right.p_correct) == (Verdict.CORRECT, pytest.approx(0.75))
    assert (silent.verdict, silent.p_correct) == (Verdict.ABSTAIN, None)
    assert tuple(asked[0][:-1]) == prompts.critique_messages("p", "r")
    assert asked[0][-1]["content"] == prompts.verdict_prefix(right.text)


def test_responses_that_were_never_given_are_told_and_unlabelled_ones_refused(jsonl: Callable[..., Path], quiet: Console) -> None:
    given = {"id": "a", "problem": "p", "response": "r", "label": "right"}
    path = jsonl(given, {"id": "b", "error": "timeout"}, {**given, "id": "c", "label": None})
    rows = iter(labelled(path, quiet))
    assert next(rows).id == "a"
    with pytest.raises(BadRow, match=r"rows\.jsonl:3: field `label`: is missing"):
        next(rows)
    assert len(list(labelled(jsonl(given, {"id": "b", "error": "timeout"}), quiet))) == 1
    assert "1 responses that were never given left out" in quiet.file.getvalue()  # type: ignore[attr-defined]


def test_rates_are_over_the_verdicts_that_were_given() -> None:
    def record(label: str, p: float | None) -> dict[str, object]:
        return {"label": label, "verdict": Judgement("", 0, p).verdict.value, "p_correct": p}

    found = tally([record("right", 0.9), record("right", 0.4), record("right", None), record("wrong", 0.2), record("wrong", 0.8)])
    assert (found["tpr"], found["tnr"], found["balanced_accuracy"], found["abstained"]) == (0.5, 0.5, 0.5, 1)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.04 + 0.64) / 4)
    assert found["calibration"] == {"tpr": 0.5, "fpr": 0.5, "n": 4}
    assert tally([record("right", 0.9)])["balanced_accuracy"] is None
