"""`NAME:loop` through the `openai` client, and the pass-through of everything else."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from redraft.options import derived_seed
from redraft.scripted import Reply
from redraft.types import Stage
from server.config import LoopDefaults
from tests.conftest import Script, verdict
from tests.server.conftest import Serve, Served

DRAFTS = [r"two and two: \boxed{4}", r"so \boxed{5}", r"I get \boxed{4.0} here"]
ASK = [{"role": "user", "content": "2+2?"}]


def client(served: Served, **more: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, **more)


async def test_models_are_listed_with_their_loops(serve: Serve) -> None:
    async with client(serve(Script(DRAFTS))) as api:
        assert [m.id async for m in api.models.list()] == ["scripted", "critic", "scripted:loop", "critic:loop"]


async def test_a_whole_completion_has_the_solution_as_content_and_the_rest_as_reasoning(serve: Serve) -> None:
    async with client(serve(Script(DRAFTS, critic=verdict(0.9)))) as api:
        reply: Any = await api.chat.completions.create(
            model="scripted:loop", messages=ASK, extra_body={"loop": {"drafts": 3, "critique": "always"}}
        )
    (choice,) = reply.choices
    assert (choice.message.content, choice.finish_reason) == (DRAFTS[0], "stop")
    assert choice.message.reasoning == choice.message.reasoning_content
    for part in ("### Draft 1\n", DRAFTS[1], "[answer: 5]", "### Critique of draft 2\n", "[verdict: correct, p(correct) 0.90]"):
        assert part in choice.message.reasoning
    assert reply.usage.completion_tokens == sum(s["completion_tokens"] for s in reply.usage.loop.values())
    assert reply.outcome["answer"] == "4"


async def test_the_stream_is_as_the_specification_has_it(serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.9)))
    body = {"model": "scripted:loop", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}}
    async with served.client() as http:
        text = (await http.post("/v1/chat/completions", json=body)).text
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop"
    assert all(c["choices"][0]["finish_reason"] is None for c in chunks[:-2])
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == chunks[-1]["usage"]["prompt_tokens"] + chunks[-1]["usage"]["completion_tokens"]


async def test_streamed_text_equals_the_whole_one(serve: Serve) -> None:
    heard = LoopDefaults(drafts=3, critique="always")
    async with client(serve(Script(DRAFTS, critic=verdict(0.2), reviser=lambda r: [Reply(r"\boxed{4}")]), loop=heard)) as api:
        whole: Any = (await api.chat.completions.create(model="scripted:loop", messages=ASK)).choices[0].message
        content = reasoning = ""
        stream: Any = await api.chat.completions.create(model="scripted:loop", messages=ASK, stream=True)
        async for chunk in stream:
            delta = chunk.choices[0].delta
            content += delta.content or ""
            reasoning += getattr(delta, "reasoning_content", None) or ""
            assert getattr(delta, "reasoning", None) == getattr(delta, "reasoning_content", None)
    assert content == whole.content
    assert sorted(reasoning) == sorted(whole.reasoning)


async def test_history_and_plain_fields_are_kept(serve: Serve) -> None:
    served = serve(Script(DRAFTS))
    history = [
        {"role": "user", "content": "x is 2"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "text", "text": "x+x?"}]},
    ]
    async with client(served) as api:
        await api.chat.completions.create(model="scripted:loop", messages=history, temperature=0.4, seed=5, max_tokens=33)  # type: ignore[arg-type]
    greedy, sampled = served.engine.requests[:2]
    assert [m["content"] for m in greedy.messages[1:]] == ["x is 2", "yes", "x+x?"]
    assert (greedy.temperature, sampled.temperature, sampled.max_tokens) == (0.0, 0.4, 33)
    assert sampled.seed == derived_seed(5, Stage.SOLVE, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("n", 2),
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("top_p", 0.5),
    ],
)
async def test_what_a_loop_cannot_honour_is_refused_by_name(serve: Serve, field: str, value: Any) -> None:
    async with client(serve(Script(DRAFTS))) as api:
        with pytest.raises(openai.BadRequestError) as error:
            await api.chat.completions.create(model="scripted:loop", messages=ASK, extra_body={field: value})
    assert error.value.param == field


@pytest.mark.parametrize(
    ("field", "value"),
    [("frequency_penalty", 0), ("presence_penalty", 0.0), ("response_format", {"type": "text"}), ("top_p", 1), ("user", "me")],
)
async def test_fields_that_ask_for_nothing_are_taken(serve: Serve, field: str, value: Any) -> None:
    async with client(serve(Script(DRAFTS))) as api:
        assert (await api.chat.completions.create(model="scripted:loop", messages=ASK, extra_body={field: value})).choices


async def test_a_cold_chat_is_told_of_its_own_field(serve: Serve) -> None:
    async with client(serve(Script(DRAFTS))) as api:
        with pytest.raises(openai.BadRequestError) as error:
            await api.chat.completions.create(model="scripted:loop", messages=ASK, temperature=0)
        assert error.value.param == "temperature"
        one = await api.chat.completions.create(model="scripted:loop", messages=ASK, temperature=0, extra_body={"loop": {"drafts": 1}})
        assert one.choices[0].message.content == DRAFTS[0]


async def test_bad_loop_fields_and_models_are_typed(serve: Serve) -> None:
    async with client(serve(Script(DRAFTS))) as api:
        with pytest.raises(openai.BadRequestError) as error:
            await api.chat.completions.create(model="scripted:loop", messages=ASK, extra_body={"loop": {"drafts": "many"}})
        assert error.value.param == "loop.drafts"
        with pytest.raises(openai.NotFoundError):
            await api.chat.completions.create(model="nobody:loop", messages=ASK)
        with pytest.raises(openai.BadRequestError):
            await api.chat.completions.create(model="scripted:loop", messages=[])


async def test_other_models_pass_through_untouched(serve: Serve) -> None:
    served = serve(Script(DRAFTS, greedy=False), engine_api_key="upstream-key")
    async with client(served) as api:
        reply: Any = await api.chat.completions.create(model="scripted", messages=ASK, extra_body={"odd": [1, {"a": 2}]})
        assert reply.echo == {"model": "scripted", "messages": ASK, "odd": [1, {"a": 2}]}
        assert reply.authorization == "Bearer upstream-key"
        stream = await api.chat.completions.create(model="scripted", messages=ASK, stream=True, n=3)
        texts: dict[int, str] = {}
        async for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        assert list(texts.values()) == DRAFTS
        with pytest.raises(openai.NotFoundError):
            await api.chat.completions.create(model="nobody", messages=ASK)
