"""Faults of the pinned vLLM on CPU, mended at run time through `vllm.general_plugins`. Each names the test that shows it.

On other platforms nothing is touched.
"""

from __future__ import annotations

from typing import Any

import torch

POLL_MS = 2
"""At most so long does a process of the engine wait before it looks for a message again."""


def register() -> None:
    """vLLM calls this in every process of an engine, possibly more than once."""
    from vllm.platforms import current_platform

    from server.engine import alora

    alora.install()
    if current_platform.is_cpu():
        from server.engine import cpu_lora, cpu_sampling

        waiting_without_spinning()
        seeded_chunked_prefill()
        cpu_lora.install()
        cpu_sampling.install()


def waiting_without_spinning() -> None:
    """The engine core sleeps while its worker computes, instead of polling shared memory on a core that the worker could use.

    vLLM polls for a second after each message before it waits for a notification. Here it waits at once, and looks again after
    POLL_MS in any case, so that a notification which came before the wait began costs that long and no more (tests/e2e/test_waiting.py;
    `benchmarks/cpu_engine.py` measures what it is worth).
    """
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    if getattr(SpinCondition, "redraft_waits", False):
        return
    wait = SpinCondition.wait

    def waits(self: Any, timeout_ms: int | None = None) -> None:
        self.last_read = float("-inf")
        wait(self, POLL_MS if timeout_ms is None else min(timeout_ms, POLL_MS))

    SpinCondition.wait = waits
    SpinCondition.redraft_waits = True


def seeded_chunked_prefill() -> None:
    """A `seed` must not kill the engine when its prefill is chunked (tests/e2e/test_seed.py).

    For a row whose sample is thrown away the model runner winds the row's generator back with `set_offset`, which torch's CPU
    generator does not have: the engine core dies. Here the state of such generators is kept before sampling and put back after it,
    and the runner's own winding is not shown them. So the same seed gives the same tokens, chunked or not.
    """
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    if getattr(GPUModelRunner, "redraft_seeded", False):
        return
    sample, bookkeeping = GPUModelRunner._sample, GPUModelRunner._bookkeeping_sync

    def _sample(self: Any, *args: Any, **kwargs: Any) -> Any:
        kept = {row: gen.get_state() for row, gen in _discarded(self).items()}
        output = sample(self, *args, **kwargs)
        for row, state in kept.items():
            self.input_batch.generators[row].set_state(state)
        return output

    def _bookkeeping_sync(self: Any, *args: Any, **kwargs: Any) -> Any:
        hidden = _discarded(self)
        for row in hidden:
            del self.input_batch.generators[row]
        try:
            return bookkeeping(self, *args, **kwargs)
        finally:
            self.input_batch.generators.update(hidden)

    GPUModelRunner._sample = _sample
    GPUModelRunner._bookkeeping_sync = _bookkeeping_sync
    GPUModelRunner.redraft_seeded = True


def _discarded(runner: Any) -> dict[int, torch.Generator]:
    """Generators of the rows whose sample of this step is thrown away."""
    batch = runner.input_batch
    mask = runner.discard_request_mask.np
    return {row: gen for row, gen in batch.generators.items() if row < batch.num_reqs and mask[row]}
