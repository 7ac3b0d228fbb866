"""Sampling with the real engine, and against what vLLM itself keeps of a vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from server.engine.cpu_sampling import install, sample
from tests.e2e.conftest import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DRAWS = 400


@pytest.mark.filterwarnings("ignore")  # vLLM's imports warn of libraries' ways; here they run inside the test's process
def test_the_words_kept_are_those_that_vllm_keeps() -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

    torch.manual_seed(0)
    words = 49_152
    logits = (torch.randn(6, words) * 3).bfloat16().float()
    k = torch.tensor([5, words, 20, 300, words, 1])
    p = torch.tensor([1.0, 0.2, 0.8, 0.95, 0.6, 0.9])
    masked = apply_top_k_top_p_pytorch(logits.clone(), k.clone(), p, allow_cpu_sync=True)
    chances = (torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS
    for row in range(len(logits)):
        many = (logits[row].expand(DRAWS, -1), chances, k[row].expand(DRAWS), p[row].expand(DRAWS))
        ours = sample(*many).bincount(minlength=words)
        expected = masked[row].double().softmax(0) * DRAWS
        assert not ours[expected == 0].any()
        assert (ours - expected).abs().max() <= 1.01


@pytest.mark.filterwarnings("ignore")  # as above
def test_vllm_draws_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with a row's own generator where it has one; processed log-probabilities stay vLLM's."""
    import vllm._custom_ops  # noqa: F401 - registers the kernels that vLLM samples with
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    monkeypatch.setattr(TopKTopPSampler, "forward_cpu", TopKTopPSampler.forward_cpu)
    monkeypatch.setattr(TopKTopPSampler, "redraft_samples", False, raising=False)
    install()
    logits = torch.randn(3, 500)
    chances = [torch.rand((), generator=seeded(seed), dtype=torch.float64) for seed in range(3)]
    drawn, processed = TopKTopPSampler().forward_cpu(logits.clone(), {row: seeded(row) for row in range(3)}, None, None)
    assert torch.equal(drawn, sample(logits, torch.stack(chances)))
    assert processed is None
    assert TopKTopPSampler("processed_logprobs").forward_cpu(logits.clone(), {}, None, None)[1] is not None


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


async def test_limits_of_sampling_are_kept(served: Server) -> None:
    """The likeliest word alone is the greedy one, where no other is as likely; a seed repeats itself under top-k and top-p."""

    async def text(**sampling: Any) -> str:
        async with served.client() as client:
            body = {"model": served.model, "prompt": "1, 2, 3, 4, 5, 6, 7, 8, 9,", "max_tokens": 16, **sampling}
            reply = await client.post("/v1/completions", json=body)
        reply.raise_for_status()
        return str(reply.json()["choices"][0]["text"])

    greedy = await text(temperature=0)
    assert await text(temperature=1.5, top_k=1) == greedy
    assert await text(temperature=1.5, top_p=1e-6) == greedy
    assert await text(temperature=1.5, min_p=1.0) == greedy
    wild = {"temperature": 2.0, "top_k": 50, "top_p": 0.95}
    assert await text(**wild, seed=3) == await text(**wild, seed=3)
    assert len({await text(**wild, seed=seed) for seed in range(4)}) > 1
