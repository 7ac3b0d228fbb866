"""A model of two layers and a tokenizer that is trained on the spot: the whole trainer runs in seconds. Like SmolLM2, pad == eos."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trainer.config import FitConfig

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helper.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "Please critique whether the following solution to the question is correct. End with Conclusion: right or Conclusion: wrong.",
    "Question:\nWhat is 12 + 30?\n\nSolution:\n12 + 30 = 42. The answer is \\boxed{42}.",
    "Critique:\nStep 1 holds.\n\nConclusion: right [END]",
    "Please reason step by step, and put your final answer within \\boxed{}.",
]
CFT_ROW = {"problem": "What is 12 + 30?", "response": "12 + 30 = 42", "critique": "The sum of 12 and 30 is 42.", "conclusion": "right"}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights, and its tokenizer, in a folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<|im_start|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Write rows to a file in the test's folder."""

    def write(*rows: object, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


class BoxChecker:
    """The last box is the answer, the last number where there is none; answers are equal as fractions or as texts."""

    def extract(self, response: str) -> str | None:
        found = re.findall(r"\\boxed\{([^{}]*)\}", response) or re.findall(r"-?\d+(?:/\d+|\.\d+)?", response)
        return found[-1] if found else None

    def is_equal(self, gold: str, pred: str) -> bool:
        try:
            return Fraction(gold) == Fraction(pred)
        except ValueError:
            return gold == pred


@pytest.fixture
def checker() -> BoxChecker:
    return BoxChecker()


@pytest.fixture
def quiet() -> Console:
    return Console(file=io.StringIO())


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cft_rows(count: int) -> list[dict[str, str]]:
    """Critiques of different lengths, right and wrong in turn."""
    rows = []
    for index in range(count):
        said, true = index + 3 + (index % 2), index + 3
        critique = f"Adding {index} and 3 gives {true}. " * (1 + index % 3)
        rows.append(
            {
                "problem": f"What is {index} + 3?",
                "response": f"{index} + 3 = {said}",
                "critique": critique.strip(),
                "conclusion": "wrong" if index % 2 else "right",
            }
        )
    return rows


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path, jsonl: Callable[..., Path]) -> Callable[..., FitConfig]:
    """A run over twelve critiques; any field can be given."""

    def config(output: str = "critic", **fields: Any) -> FitConfig:
        path = jsonl(*cft_rows(12), name="cft.jsonl")
        given: dict[str, Any] = {
            "method": "cft",
            "model": str(tiny_model),
            "data": [path],
            "output": tmp_path / output,
            "lora": {"rank": 4, "dropout": 0.1},
            "optim": {"batch_size": 2, "epochs": 2, "learning_rate": 5e-3},
            "max_length": 256,
            "dtype": "float32",
            "log_steps": 1,
            "save_steps": 2,
        }
        return FitConfig.model_validate({**given, **fields})

    return config


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A process that forks here may use no threads of its parent's pool, and sums must be taken in the same order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
