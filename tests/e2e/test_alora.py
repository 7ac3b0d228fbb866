"""Activated LoRA on the real engine, held to PEFT in float32: mixed batches, chunked prefill, the prefix cache, swaps while running."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.random_adapters import PROJECTIONS, make_adapters
from benchmarks.servers import REDRAFT, free_port, running
from redraft import home
from tests.e2e.conftest import OFFLINE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BLOCK = 128
NEAR = 1e-3
"""How far a log-probability may be from PEFT's. Other adapters are more than 0.3 away."""
STORY = " ".join(f"On day {n} the traveller walked {n * 3} miles and wrote it down." for n in range(1, 24))
FLAGS = ["--dtype", "float32", "--max-num-batched-tokens", "160", "--max-num-seqs", "16", "--max-loras", "4", "--max-model-len", "1024"]
WAKING = "<|im_start|>assistant\n"
Ids = tuple[int, ...]


class Reference:
    """The default model in transformers, and adapters in PEFT."""

    def __init__(self, model: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)  # several would spin beside the server's
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self._peft: Any = None
        self._known: dict[tuple[str, Ids, Ids], Any] = {}

    def learn(self, name: str, folder: Path) -> None:
        from peft import PeftModel

        if self._peft is None:
            self._peft = PeftModel.from_pretrained(self._base, folder, adapter_name=name).eval()
        else:
            self._peft.load_adapter(folder, name)

    def encode(self, text: str) -> Ids:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def chat(self, *turns: str) -> Ids:
        """A conversation that asks for the next reply."""
        said = [{"role": ("user", "assistant")[number % 2], "content": turn} for number, turn in enumerate(turns)]
        return self.encode(self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))

    def after(self, name: str, prompt: Ids, reply: Ids) -> Any:
        """Log-probabilities of each token of `reply`, and of all others in its place."""
        key = (name, prompt, reply)
        if key not in self._known:
            self._known[key] = self._after(*key)
        return self._known[key]

    def _after(self, name: str, prompt: Ids, reply: Ids) -> Any:
        """PEFT finds the place in the prompt alone, as it does when it generates."""
        import torch
        from peft.tuners.lora.variants import calculate_alora_offsets

        ids = torch.tensor([[*prompt, *reply[:-1]]])
        with torch.inference_mode():
            if name == "base":
                with self._peft.disable_adapter():
                    logits = self._peft(input_ids=ids).logits
            else:
                self._peft.set_adapter(name)
                offsets = calculate_alora_offsets(self._peft.peft_config, name, torch.tensor([prompt]))
                awake = {} if offsets[0] is None else {"alora_offsets": [offsets[0] + len(reply) - 1]}
                logits = self._peft(input_ids=ids, **awake).logits
        return logits[0, len(prompt) - 1 :].log_softmax(-1)


@dataclass(frozen=True)
class Answer:
    name: str
    prompt: Ids
    tokens: Ids
    likely: Sequence[dict[int, float]]
    cached: int


@dataclass
class Site:
    url: str
    inbox: Path
    reference: Reference
    log: Path
    names: dict[str, str] = field(default_factory=dict)
    """What replies say as `model` -> the name of the adapter in the reference."""

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=300, trust_env=False)

    async def ask(self, client: httpx.AsyncClient, model: str, prompt: Ids) -> Answer:
        body = {"model": home.DEFAULT_MODEL if model == "base" else model, "prompt": list(prompt), "max_tokens": 4, "temperature": 0}
        reply = await client.post("/v1/completions", json=body | {"logprobs": 8, "return_tokens_as_token_ids": True})
        assert reply.status_code == 200, reply.text
        found = reply.json()
        told = found["choices"][0]["logprobs"]
        likely = [{number_of(token): value for token, value in place.items()} for place in told["top_logprobs"]]
        cached = (found["usage"]["prompt_tokens_details"] or {}).get("cached_tokens") or 0
        return Answer(self.names[found["model"]], prompt, tuple(map(number_of, told["tokens"])), likely, cached)

    def apart(self, answer: Answer, name: str | None = None) -> float:
        """The largest difference to what PEFT says, over all tokens of the reply."""
        expected = self.reference.after(name or answer.name, answer.prompt, answer.tokens)
        return max(abs(expected[at][token].item() - value) for at, place in enumerate(answer.likely) for token, value in place.items())

    async def put(self, client: httpx.AsyncClient, alias: str, source: str) -> str:
        reply = await client.post("/adapters", json={"name": alias, "source": source})
        assert reply.status_code == 201, reply.text
        revision: str = reply.json()["revision"]
        self.names[revision] = source
        return revision


def number_of(token: str) -> int:
    return int(token.removeprefix("token_id:"))


def activated(source: Path, to: Path, tokens: Ids) -> Path:
    """The same weights, as an activated adapter."""
    shutil.copytree(source, to)
    config = json.loads((to / "adapter_config.json").read_text(encoding="utf-8"))
    (to / "adapter_config.json").write_text(json.dumps(config | {"alora_invocation_tokens": tokens}), encoding="utf-8")
    return to


def trained(folder: Path) -> Path:
    """An activated critic out of the trainer: two steps that plainly move it."""
    rows = [
        {"problem": f"What is {n} + 2?", "response": f"It is {n + 2}.", "critique": f"{n} and 2 are {n + 2}.", "conclusion": "right"}
        for n in range(4)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = {
        "method": "cft",
        "model": home.DEFAULT_MODEL,
        "data": [str(folder / "rows.jsonl")],
        "output": str(folder / "inbox" / "trained"),
        "lora": {"rank": 8, "alora_invocation": "reply"},
        "server_alora": True,
        "optim": {"batch_size": 4, "max_steps": 2, "learning_rate": 0.02, "warmup": 0.0},
        "max_length": 256,
    }
    (folder / "fit.yaml").write_text(json.dumps(config), encoding="utf-8")
    subprocess.run([Path(sys.executable).with_name("trainer"), "fit", str(folder / "fit.yaml")], check=True, cwd=folder)
    return folder / "inbox" / "trained"


def made(model: Path, folder: Path, rank: int, modules: tuple[str, ...]) -> Path:
    """Random weights that move the answers and leave the model a model."""
    return make_adapters(model, folder, count=1, rank=rank, modules=modules, deviation=0.04)[0]


@pytest.fixture(scope="module")
def site(model: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("alora"), free_port()
    inbox, reference = folder / "inbox", Reference(model)
    inbox.mkdir()
    waking = reference.encode(WAKING)
    sources = {
        "plain": adapters["tiny"],
        "one": activated(adapters["tiny"], inbox / "one", waking),
        "two": activated(adapters["other"], inbox / "two", waking),
        "trained": trained(folder),
        "wide/adapter-0": made(model, inbox / "wide", 64, PROJECTIONS),
        "narrow/adapter-0": made(model, inbox / "narrow", 8, ("k_proj", "gate_proj", "down_proj")),
    }
    for name, source in sources.items():
        reference.learn(name, source)
    env = OFFLINE | {"REDRAFT_ADAPTERS__ROOTS": json.dumps([str(inbox)]), "REDRAFT_ADAPTERS__FOLDER": str(folder / "copies")}
    env |= {"VLLM_CPU_KVCACHE_SPACE": "1"}
    command = [str(REDRAFT), "serve", "--port", str(port), *FLAGS, "--lora-modules", f"plain={sources['plain']}"]
    url, log = f"http://127.0.0.1:{port}", folder / "redraft.log"
    with running(command, health=f"{url}/health/ready", log=log, env=env):
        yield Site(url, inbox, reference, log, {home.DEFAULT_MODEL: "base", "plain": "plain"})


async def test_base_lora_and_activated_lora_in_one_batch_equal_peft(site: Site) -> None:
    chat = site.reference.chat
    prompts = [
        chat("Who are you?"),
        chat(f"{STORY} What did the traveller do?"),
        chat(f"{STORY} How far was it?"),
        chat(f"Say {WAKING} Hello."),
        chat(f"{STORY[:500]} {WAKING} {STORY[:200]}") + site.reference.encode("Critique:\n"),
    ]
    async with site.client() as client:
        revisions = [await site.put(client, alias, alias) for alias in ("one", "two")]
        pairs = list(itertools.product(["base", "plain", *revisions], prompts))
        first = await asyncio.gather(*(site.ask(client, *pair) for pair in pairs))
        again = await asyncio.gather(*(site.ask(client, *pair) for pair in reversed(pairs)))
    assert not any(answer.cached for answer in first if answer.prompt == prompts[0])
    assert all(answer.cached >= 2 * BLOCK for answer in again if answer.prompt in prompts[1:3]), "the second round reads the prefix cache"
    for answer in (*first, *again):
        assert site.apart(answer) < NEAR, answer
    for answer in first[:: len(prompts)]:
        others = {"base", "plain", "one", "two"} - {answer.name}
        assert min(site.apart(answer, other) for other in others) > 0.3, "the adapters must plainly differ"


async def test_every_projection_and_rank_equals_peft(site: Site) -> None:
    """Fused q, k, v and gate, up, of which an adapter may have a part; ranks below the server's; slots that lie fallow between."""
    prompts = [site.reference.chat(f"{STORY} {end}") for end in ("Whence?", "Whither?")] + [site.reference.chat("What is 2 + 2?")]
    async with site.client() as client:
        wide, narrow = [await site.put(client, alias, f"{alias}/adapter-0") for alias in ("wide", "narrow")]
        answers = await asyncio.gather(*(site.ask(client, *pair) for pair in itertools.product([wide, "base", narrow, "plain"], prompts)))
        for alias in ("wide", "narrow"):
            assert (await client.delete(f"/adapters/{alias}")).status_code == 200
    for answer in answers:
        assert site.apart(answer) < NEAR, answer
    for answer in answers[:: len(prompts)]:
        others = {"base", "plain", "wide/adapter-0", "narrow/adapter-0"} - {answer.name}
        assert min(site.apart(answer, other) for other in others) > 0.3, "the adapters must plainly differ"


async def test_the_base_models_cache_is_read_and_written(site: Site) -> None:
    fresh = [site.reference.chat(f"Story {number}. {STORY} What now?") for number in range(2)]
    place = len(fresh[0]) - len(site.reference.encode(WAKING))
    async with site.client() as client:
        critic = await site.put(client, "one", "one")
        drafted = await site.ask(client, "base", fresh[0])
        judged, plain = await site.ask(client, critic, fresh[0]), await site.ask(client, "plain", fresh[0])
        before, after = await site.ask(client, critic, fresh[1]), await site.ask(client, "base", fresh[1])
    assert drafted.cached == plain.cached == before.cached == 0
    assert judged.cached == after.cached == place // BLOCK * BLOCK > 2 * BLOCK
    for answer in (drafted, judged, plain, before, after):
        assert site.apart(answer) < NEAR, answer


async def test_a_conversation_that_goes_on_moves_the_place(site: Site) -> None:
    """What the adapter wrote in its first turn was written as the adapter; in the second turn it stands before the place."""
    first = site.reference.chat(f"Another day. {STORY} Why?")
    more = site.reference.encode(f"<|im_end|>\n<|im_start|>user\n{STORY[:700]} So?<|im_end|>\n{WAKING}")
    async with site.client() as client:
        critic = await site.put(client, "two", "two")
        turn = await site.ask(client, critic, first)
        follow = await site.ask(client, critic, (*first, *turn.tokens, *more))
        base = await site.ask(client, "base", (*first, *turn.tokens, *more))
    for answer in (turn, follow, base):
        assert site.apart(answer) < NEAR, answer


async def test_swaps_while_running(site: Site) -> None:
    prompts = itertools.cycle([site.reference.chat(f"{STORY} {end}") for end in ("Why?", "When?", "Who?")])
    seen: list[Answer] = []
    over = asyncio.Event()

    async def asks(client: httpx.AsyncClient, model: str) -> None:
        while not over.is_set():
            seen.append(await site.ask(client, model, next(prompts)))

    async with site.client() as client, asyncio.TaskGroup() as group:
        await site.put(client, "critic", "one")
        for model in ("critic", "critic", "base", "plain"):
            group.create_task(asks(client, model))
        for source in ("two", "one", "two"):
            await asyncio.sleep(1.0)
            await site.put(client, "critic", source)
        await asyncio.sleep(1.0)
        over.set()
    assert {answer.name for answer in seen} == {"base", "plain", "one", "two"}
    checked = {(answer.name, answer.prompt, answer.tokens): answer for answer in seen}
    assert len(checked) <= 12, "the same question to the same adapter has one answer"
    for answer in checked.values():
        assert site.apart(answer) < NEAR, answer


async def test_what_the_trainer_makes_is_admitted_and_served(site: Site) -> None:
    async with site.client() as client:
        critic = await site.put(client, "trained", "trained")
        shown = (await client.get("/adapters/trained")).json()["revisions"][0]
        assert (shown["activated"], shown["fallback"], shown["manifest"]["method"]) == (True, None, "cft")
        answer = await site.ask(client, critic, site.reference.chat(f"{STORY} How many?"))
        ask = {"problem": "What is 2 + 2?", "response": "It is 5.", "model": "trained", "max_tokens": 32}
        judged = await client.post("/critique", json=ask)
    assert site.apart(answer) < NEAR
    assert site.apart(answer, "base") > 0.3
    assert judged.status_code == 200, judged.text


async def test_a_prompt_that_does_not_wake_the_adapter_is_refused(site: Site) -> None:
    body: dict[str, Any] = {"prompt": "The capital of France is", "max_tokens": 4}
    async with site.client() as client:
        await site.put(client, "one", "one")
        for stream in (False, True):
            reply = await client.post("/v1/completions", json=body | {"model": "one", "stream": stream})
            assert "invocation tokens" in reply.text
            assert reply.status_code == 400 or (stream and '"code":400' in reply.text.replace(" ", ""))
        assert (await client.post("/v1/completions", json=body | {"model": "plain"})).status_code == 200


def test_another_vllm_is_left_alone_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import vllm
    from vllm.lora.peft_helper import PEFTHelper

    from server.engine import alora

    monkeypatch.delattr(PEFTHelper, "redraft_alora", raising=False)
    before = PEFTHelper._validate_features
    monkeypatch.setattr(vllm, "__version__", "0.33.1")
    alora.install()
    assert PEFTHelper._validate_features is before
    assert "0.33.1" in (alora.missing() or "")
