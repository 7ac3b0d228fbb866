"""One judgement of one response: critiques in words, then the beliefs read from their verdict tokens' log-probabilities.

Two steps: the first writes the critiques (one, greedily, or several samples of one request) and stops each at `Conclusion:`, the second
goes on from there by one token and reads the probabilities of the labels. So a belief does not depend on how the text happened to be
sampled, and a critique that runs out of tokens still concludes. Knows nothing of votes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redraft import parse, prompts
from redraft.engine import Engine, Generation
from redraft.together import together
from redraft.types import Usage, Verdict

VERDICT_TOKENS = 1
TOP_LOGPROBS = 20
SEPARATOR = "\n\n"


def calls(critiques: int) -> int:
    """Engine calls of one judgement: the critiques are one, each verdict is one more."""
    return 1 + critiques


@dataclass(frozen=True, slots=True)
class Judgement:
    """`text` is the whole critique as a critic is trained to write it (several: one after the other); without a readable conclusion it
    ends where the model did. `p_correct` is the mean of the `beliefs` that could be read."""

    text: str
    verdict: Verdict
    p_correct: float | None
    reason: str | None
    truncated: bool
    beliefs: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    body: str
    finish_reason: str


class CriticCall:
    """A judgement under way. `usage` counts what was generated so far, also when the call is cancelled."""

    def __init__(
        self, engine: Engine, *, model: str, max_tokens: int, critiques: int = 1, temperature: float = 0.0, seed: int | None = None
    ) -> None:
        if max_tokens <= VERDICT_TOKENS:
            raise ValueError(f"a critique needs more than {VERDICT_TOKENS} token, max_tokens is {max_tokens}")
        if critiques > 1 and temperature == 0:
            raise ValueError("several critiques need a temperature above 0: greedy ones are all the same")
        self._engine = engine
        self._model = model
        self._max_tokens = max_tokens - VERDICT_TOKENS
        self._critiques = critiques
        self._temperature = temperature
        self._seed = seed
        self.usage = Usage()

    async def run(self, problem: str, response: str, on_text: Callable[[str], None]) -> Judgement:
        """Write and read the critiques; `on_text` gets the text piece by piece: the first as it is written, its conclusion, the others.

        Raises the engine's typed errors. Cancelling it cancels the engine's work.
        """
        prompt = prompts.critique_messages(problem, response)
        written = await self._write(prompt, on_text)
        seen = await together([self._read_verdict(prompt, prompts.verdict_prefix(one.body)) for one in written])
        texts = [_whole(one, belief) for one, belief in zip(written, seen, strict=True)]
        told = len(prompts.CRITIQUE_START + written[0].body)
        for piece in (texts[0][told:], *(SEPARATOR + text for text in texts[1:])):
            if piece:
                on_text(piece)
        return _judgement(texts, written, seen)

    async def _write(self, prompt: prompts.Messages, on_text: Callable[[str], None]) -> list[_Written]:
        request = Generation(
            messages=(*prompt, {"role": "assistant", "content": prompts.CRITIQUE_START}),
            model=self._model,
            max_tokens=self._max_tokens,
            n=self._critiques,
            temperature=self._temperature,
            seed=self._seed,
            stop=(prompts.CONCLUSION, prompts.END),
            continue_final=True,
        )
        pieces: list[list[str]] = [[] for _ in range(self._critiques)]
        finish = ["stop"] * self._critiques
        tell = _Stripped(on_text)
        async with self._engine.stream(request) as stream:
            try:
                async for chunk in stream:
                    if chunk.text:
                        pieces[chunk.index].append(chunk.text)
                        if chunk.index == 0:
                            tell(chunk.text)
                    finish[chunk.index] = chunk.finish_reason or finish[chunk.index]
            finally:
                self.usage += stream.usage
        tell.end()
        return [_Written(parse.body("".join(text)), reason) for text, reason in zip(pieces, finish, strict=True)]

    async def _read_verdict(self, prompt: prompts.Messages, prefix: str) -> parse.Belief:
        request = Generation(
            messages=(*prompt, {"role": "assistant", "content": prefix}),
            model=self._model,
            max_tokens=VERDICT_TOKENS,
            seed=self._seed,
            continue_final=True,
            top_logprobs=TOP_LOGPROBS,
        )
        first: dict[str, float] = {}
        async with self._engine.stream(request) as stream:
            try:
                async for chunk in stream:
                    if chunk.top_logprobs and not first:
                        first = dict(chunk.top_logprobs[0])
            finally:
                self.usage += stream.usage
        return parse.belief(first)


def _whole(written: _Written, seen: parse.Belief) -> str:
    if seen.p_correct is None:
        return prompts.CRITIQUE_START + written.body
    return prompts.critique_reply(written.body, prompts.RIGHT if seen.p_correct >= 0.5 else prompts.WRONG)


def _judgement(texts: Sequence[str], written: Sequence[_Written], seen: Sequence[parse.Belief]) -> Judgement:
    beliefs = tuple(belief.p_correct for belief in seen)
    readable = [p for p in beliefs if p is not None]
    text, truncated = SEPARATOR.join(texts), any(one.finish_reason == "length" for one in written)
    if not readable:
        mass = max(belief.label_mass for belief in seen)
        reason = f"no conclusion: the labels hold {mass:.1%} of the verdict token's probability"
        return Judgement(text, Verdict.ABSTAIN, None, reason, truncated, beliefs)
    mean = sum(readable) / len(readable)
    return Judgement(text, Verdict.CORRECT if mean >= 0.5 else Verdict.INCORRECT, mean, None, truncated, beliefs)


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
