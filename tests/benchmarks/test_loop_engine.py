"""The calls that a benchmark reads off a transcript are those that the engine got, but for the token in which a verdict is read."""

from __future__ import annotations

from benchmarks.loop_engine import calls_of
from redraft import loop, prompts
from redraft.options import LoopOptions
from redraft.scripted import Reply, ScriptedEngine
from redraft.types import Stage
from server.routes import schema
from tests.conftest import Script, WordChecker, verdict


async def test_a_transcript_tells_every_call() -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5", "= 6"], critic=verdict(0.1), reviser=lambda request: [Reply("= 7")]))
    ask = list(prompts.solve_messages("What is it?"))
    options = LoopOptions(drafts=3, critique="always")
    result = await loop.run(engine, WordChecker(), ask, model="scripted", critic="scripted", options=options)
    told = calls_of("What is it?", {"transcript": schema.transcript_body(result)})
    written = [request for request in engine.requests if request.max_tokens > 1]
    asked = [request.messages[: -1 if request.continue_final else None] for request in written for _ in range(request.n)]
    assert {Stage.SOLVE, Stage.CRITIQUE, Stage.REVISE} <= set(result.usage_by_stage)
    assert sorted(map(repr, asked)) == sorted(repr(call.chat) for call in told)
    assert {call.text for call in told} >= {"= 4", "= 5", "= 6", "= 7"}
