from __future__ import annotations

import json
import math
from typing import Any

import pytest

from redraft import parse
from redraft.engine import Generation
from redraft.scripted import Reply
from redraft.types import Verdict
from tests.conftest import Script, verdict
from tests.server.conftest import Serve, Served

ASK = {"problem": "2+2?", "response": "it is 5"}


async def critique(served: Served, **more: Any) -> Any:
    async with served.client() as client:
        return await client.post("/critique", json={**ASK, **more})


@pytest.mark.parametrize(("p", "said"), [(0.9, Verdict.CORRECT), (0.1, Verdict.INCORRECT)])
async def test_a_response_is_judged(serve: Serve, p: float, said: Verdict) -> None:
    body = (await critique(serve(Script([], critic=verdict(p, "two and two are four"))), model="critic")).json()
    assert body["verdict"] == said
    assert body["p_correct"] == pytest.approx(p)
    assert parse.conclusion(body["critique"]) is said
    assert body["model"] == "critic"
    assert body["usage"]["completion_tokens"] == 6
    assert body["timing"]["wall_s"] >= body["timing"]["ttft_s"] > 0


async def test_an_unparseable_one_abstains_and_says_so(serve: Serve) -> None:
    def mute(request: Generation) -> list[Reply]:
        return [Reply(" well", {" well": math.log(0.99)})] if request.top_logprobs else [Reply("hm")]

    body = (await critique(serve(Script([], critic=mute)))).json()
    assert (body["verdict"], body["p_correct"]) == ("abstain", None)
    assert "no conclusion" in body["reason"]


async def test_the_stream_carries_the_text_and_then_the_whole(serve: Serve) -> None:
    text = (await critique(serve(Script([], critic=verdict(0.9, "fine by me"))), stream=True)).text
    *pieces, result = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert "".join(piece["text"] for piece in pieces) == result["critique"]
    assert text.endswith("data: [DONE]\n\n")


async def test_max_tokens_bounds_both_calls_together(serve: Serve) -> None:
    served = serve(Script([], critic=verdict(0.9, "word " * 100)))
    body = (await critique(served, max_tokens=20)).json()
    assert body["usage"]["completion_tokens"] == 20
    assert body["truncated"]


@pytest.mark.parametrize(("more", "param"), [({"response": ""}, "response"), ({"max_tokens": 1}, "max_tokens"), ({"loop": {}}, "loop")])
async def test_a_bad_field_is_named(serve: Serve, more: dict[str, Any], param: str) -> None:
    reply = await critique(serve(Script([])), **more)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
