"""Adapters in mixed batches: everybody gets the model they asked for, on the real engine and in the kernels alone."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PROMPTS = ("The capital of France is", "Two and two are", "Once upon a time there was", "Water boils at")


async def first_token(client: httpx.AsyncClient, model: str, prompt: str) -> dict[str, float]:
    body: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": 6, "temperature": 0, "logprobs": 10}
    reply = await client.post("/v1/completions", json=body)
    found: dict[str, float] = reply.json()["choices"][0]["logprobs"]["top_logprobs"][0]
    return found


def distance(a: dict[str, float], b: dict[str, float]) -> float:
    """The largest difference among the three likeliest tokens of `a`; one that `b` does not report is far away."""
    likely = sorted(a, key=lambda token: -a[token])[:3]
    return max(abs(a[token] - b.get(token, -20.0)) for token in likely)


@pytest.mark.parametrize("served", ["plugin"], indirect=True)
async def test_a_mixed_batch_mixes_nothing(served: Server) -> None:
    async with served.client() as client:
        models = (served.model, "tiny", "other")
        alone = {(m, p): await first_token(client, m, p) for m in models for p in PROMPTS}
        pairs = list(alone)
        together = dict(zip(pairs, await asyncio.gather(*(first_token(client, m, p) for m, p in pairs)), strict=True))
    for prompt in PROMPTS:
        base, tiny, other = (alone[m, prompt] for m in models)
        assert min(distance(base, tiny), distance(base, other), distance(tiny, other)) > 0.4, "the adapters must plainly differ"
    for model, prompt in pairs:
        apart = {name: distance(alone[name, prompt], together[model, prompt]) for name in models}
        assert min(apart, key=lambda name: apart[name]) == model, (prompt, apart)
        assert apart[model] < 0.4, (prompt, apart)


def test_the_kernels_equal_the_definition() -> None:
    import torch

    from server.engine.cpu_lora import GroupedPunicaWrapper, group

    torch.manual_seed(0)
    slots, rank, wide, outs = 3, 8, 32, (16, 8, 24)
    a = tuple(torch.randn(slots, 1, rank, wide) for _ in outs)
    b = tuple(torch.randn(slots, 1, out, rank) for out in outs)
    for rows in ([0, -1, 2, 2, -1, 0], [1] * 6, [-1] * 6, [2, 1, 0, 2, 1, 0]):
        x, y = torch.randn(6, wide), torch.randn(6, sum(outs))
        expected = y.clone()
        for row, slot in enumerate(rows):
            if slot >= 0:
                expected[row] += torch.cat([2.0 * b[k][slot, 0] @ (a[k][slot, 0] @ x[row]) for k in range(3)])
        wrapper = GroupedPunicaWrapper(6, 6, "cpu")
        wrapper._token_groups = wrapper._sampler_groups = group(torch.tensor(rows))
        result = y.clone()
        wrapper.add_lora_linear(result, x, a, b, 2.0, outs)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
        untouched = [row for row, slot in enumerate(rows) if slot < 0]
        assert torch.equal(result[untouched], y[untouched])

        shrunk = torch.full((6, rank), 7.0)
        wrapper._apply_shrink(shrunk, x, a[0], 2.0)
        result = y.clone()
        wrapper._apply_expand(result, shrunk, b[0], 0, outs[0])
        torch.testing.assert_close(result[:, : outs[0]], expected[:, : outs[0]], rtol=1e-4, atol=1e-4)

        logits = torch.randn(6, outs[0])
        wrapper.add_lora_logits(got := logits.clone(), x, a[0], b[0], 2.0)
        torch.testing.assert_close(got, logits + expected[:, : outs[0]] - y[:, : outs[0]], rtol=1e-4, atol=1e-4)
