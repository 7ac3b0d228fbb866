"""How soon a critic begins on a draft of about 1,000 tokens that the base model has just written: activated LoRA against plain LoRA.

    python -m benchmarks.alora_ttft [--rounds 12] [--model DIR]

One server holds the same random weights (all seven projections, rank 16) as a plain and as an activated LoRA, which wakes where the reply
begins. In each round the base model reads a new problem with a new draft, so that both lie in its KV cache; then each critic, and the base
model itself as the bound, is asked to judge the draft in the same conversation, in an order that changes from round to round. Measured
over HTTP: seconds to the first streamed token. The ratio is activated / plain of one round; `cached` are the prompt's tokens that came
from the cache.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.random_adapters import PROJECTIONS, make_adapters
from benchmarks.report import hardware, save
from benchmarks.servers import REDRAFT, free_port, running
from redraft import home, prompts

RANK = 16
SENTENCES = 53
"""Of a draft: about 1,000 tokens of the embedded model."""
BASE, PLAIN, ACTIVATED = "base", "plain", "activated"
WAKING = "<|im_start|>assistant\n"
"""What asks for a reply in the chat template of the default model, and of Qwen's."""
TOKENS = 4


def critics(model: Path, folder: Path) -> dict[str, Path]:
    """The same weights twice."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(model).encode(WAKING, add_special_tokens=False)
    (plain,) = make_adapters(model, folder, count=1, rank=RANK, modules=PROJECTIONS)
    activated = Path(shutil.copytree(plain, folder / ACTIVATED))
    config = json.loads((plain / "adapter_config.json").read_text(encoding="utf-8"))
    (activated / "adapter_config.json").write_text(json.dumps({**config, "alora_invocation_tokens": tokens}), encoding="utf-8")
    return {PLAIN: plain, ACTIVATED: activated}


def conversation(number: int) -> prompts.Messages:
    """A problem and a draft that no other round has."""
    problem = f"Traveller {number} walks every day. How far does he get in {SENTENCES} days?"
    steps = (f"On day {day} traveller {number} walked {day * 3 + number} miles and wrote it down." for day in range(SENTENCES))
    return (*prompts.solve_messages(problem), {"role": "assistant", "content": " ".join(steps)})


def first_token(client: httpx.Client, model: str, messages: prompts.Messages, **more: Any) -> tuple[float, dict[str, Any]]:
    """Seconds to the first streamed text, and the usage."""
    body = {"model": model, "messages": list(messages), "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, **more}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    seconds: float | None = None
    usage: dict[str, Any] = {}
    began = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        if reply.status_code != httpx.codes.OK:
            raise RuntimeError(f"HTTP {reply.status_code}: {reply.read().decode()[:300]}")
        for line in reply.iter_lines():
            data = line.removeprefix("data: ")
            if not data.startswith("{"):
                continue
            event = json.loads(data)
            if "error" in event:
                raise RuntimeError(data[:300])
            told = any("content" in choice["delta"] and "role" not in choice["delta"] for choice in event["choices"])
            seconds = time.perf_counter() - began if told and seconds is None else seconds
            usage = event.get("usage") or usage
    if seconds is None:
        raise RuntimeError("the reply had no token")
    return seconds, usage


def measure(client: httpx.Client, models: dict[str, str], number: int) -> dict[str, Any]:
    """One round."""
    drafted = conversation(number)
    first_token(client, models[BASE], drafted, continue_final_message=True, add_generation_prompt=False)
    judged: prompts.Messages = (*drafted, {"role": "user", "content": prompts.CRITIQUE_INSTRUCTION})
    names = list(models)
    found: dict[str, Any] = {}
    for name in names[number % 3 :] + names[: number % 3]:
        seconds, usage = first_token(client, models[name], judged)
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        found[name] = {"ttft_ms": 1000 * seconds, "prompt": usage["prompt_tokens"], "cached": cached}
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    ranked = sorted(values)
    low, _, high = statistics.quantiles(ranked, n=4)
    return {"median": statistics.median(ranked), "q1": low, "q3": high, "min": ranked[0], "max": ranked[-1]}


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ratio": spread([found[ACTIVATED]["ttft_ms"] / found[PLAIN]["ttft_ms"] for found in rounds]),
        "ttft_ms": {name: spread([found[name]["ttft_ms"] for found in rounds]) for name in (PLAIN, ACTIVATED, BASE)},
        "prompt_tokens": statistics.median(found[PLAIN]["prompt"] for found in rounds),
        "cached_tokens": {name: statistics.median(found[name]["cached"] for found in rounds) for name in (PLAIN, ACTIVATED, BASE)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--model", type=Path, help="a model's folder instead of the default model")
    arguments = parser.parse_args()
    model, port = arguments.model or home.default_model_dir(), free_port()
    url = f"http://127.0.0.1:{port}"
    served = [str(arguments.model)] if arguments.model else []
    with tempfile.TemporaryDirectory() as temporary:
        modules = [f"{name}={path}" for name, path in critics(model, Path(temporary)).items()]
        command = [str(REDRAFT), "serve", *served, "--port", str(port), "--max-model-len", "2048", "--lora-modules", *modules]
        with (
            running(command, health=f"{url}/health/ready", log=Path(temporary, "serve.log")),
            httpx.Client(base_url=url, timeout=600, trust_env=False) as client,
        ):
            base = client.get("/v1/models").json()["data"][0]["id"]
            models = {PLAIN: PLAIN, ACTIVATED: ACTIVATED, BASE: base}
            measure(client, models, 1000)  # warm
            rounds = []
            for number in range(arguments.rounds):
                rounds.append(measure(client, models, number))
                print(json.dumps({name: round(found["ttft_ms"]) for name, found in rounds[-1].items()}), flush=True)
    found = {**summary(rounds), "model": str(arguments.model.name if arguments.model else home.DEFAULT_MODEL), "rank": RANK}
    save("alora_ttft", {**found, "rounds": rounds, "hardware": hardware()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
