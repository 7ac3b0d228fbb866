"""One critique of one response: the judgement in words, then the belief read from the verdict token's log-probabilities.

Two calls: the first writes the judgement and stops at `Conclusion:`, the second goes on from there by one token and reads the
probabilities of the labels. So the belief does not depend on how the text happened to be sampled, and a critique that runs out of
tokens still concludes. Knows nothing of votes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from redraft import parse, prompts
from redraft.engine import Engine, Generation
from redraft.types import Usage, Verdict

CALLS = 2
"""Engine calls of one critique."""
VERDICT_TOKENS = 1
TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Judgement:
    """`text` is the whole critique as a critic is trained to write it; without a readable conclusion it ends where the model did."""

    text: str
    verdict: Verdict
    p_correct: float | None
    reason: str | None
    truncated: bool


class CriticCall:
    """A critique under way. `usage` counts what was generated so far, also when the call is cancelled."""

    def __init__(self, engine: Engine, *, model: str, max_tokens: int, temperature: float = 0.0, seed: int | None = None) -> None:
        if max_tokens <= VERDICT_TOKENS:
            raise ValueError(f"a critique needs more than {VERDICT_TOKENS} token, max_tokens is {max_tokens}")
        self._engine = engine
        self._request = Generation(
            messages=(),
            model=model,
            max_tokens=max_tokens - VERDICT_TOKENS,
            temperature=temperature,
            seed=seed,
            stop=(prompts.CONCLUSION, prompts.END),
            continue_final=True,
        )
        self.usage = Usage()

    async def run(self, problem: str, response: str, on_text: Callable[[str], None]) -> Judgement:
        """Write and read the critique; `on_text` gets the text piece by piece, the conclusion last.

        Raises the engine's typed errors. Cancelling it cancels the engine's work.
        """
        prompt = prompts.critique_messages(problem, response)
        written, finish = await self._write(prompt, on_text)
        body = parse.body(written)
        seen = await self._read_verdict(prompt, prompts.verdict_prefix(body))
        truncated = finish == "length"
        if seen.p_correct is None:
            return Judgement(
                text=prompts.CRITIQUE_START + body,
                verdict=Verdict.ABSTAIN,
                p_correct=None,
                reason=f"no conclusion: the labels hold {seen.label_mass:.1%} of the verdict token's probability",
                truncated=truncated,
            )
        right = seen.p_correct >= 0.5
        text = prompts.critique_reply(body, prompts.RIGHT if right else prompts.WRONG)
        on_text(text[len(prompts.CRITIQUE_START + body) :])
        return Judgement(text, Verdict.CORRECT if right else Verdict.INCORRECT, seen.p_correct, None, truncated)

    async def _write(self, prompt: prompts.Messages, on_text: Callable[[str], None]) -> tuple[str, str]:
        request = replace(self._request, messages=(*prompt, {"role": "assistant", "content": prompts.CRITIQUE_START}))
        pieces: list[str] = []
        tell = _Stripped(on_text)
        finish = "stop"
        before = self.usage
        async with self._engine.stream(request) as stream:
            try:
                async for chunk in stream:
                    if chunk.text:
                        tell(chunk.text)
                        pieces.append(chunk.text)
                    finish = chunk.finish_reason or finish
            finally:
                self.usage = before + stream.usage
        tell.end()
        return "".join(pieces), finish

    async def _read_verdict(self, prompt: prompts.Messages, prefix: str) -> parse.Belief:
        request = replace(
            self._request,
            messages=(*prompt, {"role": "assistant", "content": prefix}),
            max_tokens=VERDICT_TOKENS,
            temperature=0.0,
            stop=(),
            top_logprobs=TOP_LOGPROBS,
        )
        before = self.usage
        first: dict[str, float] = {}
        async with self._engine.stream(request) as stream:
            try:
                async for chunk in stream:
                    if chunk.top_logprobs and not first:
                        first = dict(chunk.top_logprobs[0])
            finally:
                self.usage = before + stream.usage
        return parse.belief(first)


class _Stripped:
    """Tells a critique's text as it comes, without the white space around it: what is streamed is what the result holds."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._begun = False
        self._held = ""

    def __call__(self, text: str) -> None:
        text = self._held + text
        shown = text.rstrip()
        self._held = text[len(shown) :]
        if shown:
            self._on_text(shown if self._begun else prompts.CRITIQUE_START + shown.lstrip())
            self._begun = True

    def end(self) -> None:
        """An empty critique still has its beginning."""
        if not self._begun:
            self._on_text(prompts.CRITIQUE_START)
