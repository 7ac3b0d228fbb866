"""The examples of the README on the scripted engine, and the example replies of docs/server.md beside real ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from redraft.scripted import Reply
from tests import readme
from tests.conftest import Script, verdict
from tests.pages import ROOT, Block, blocks
from tests.server.conftest import Serve

DRAFTS = [r"Together \boxed{7}.", r"So it is \boxed{8}.", r"I get \boxed{9} here."]
ASK = {"problem": "3 + 4?"}
CHAT = {"model": "scripted:loop", "messages": [{"role": "user", "content": "3 + 4?"}]}
PATHS = {
    "redraft.solution": ("/solve", {**ASK, "loop": {"critique": "always"}}),
    "redraft.critique": ("/critique", {**ASK, "response": "8"}),
    "chat.completion": ("/v1/chat/completions", CHAT),
}


def script() -> Script:
    return Script(DRAFTS, critic=verdict(0.1), reviser=lambda request: [Reply(r"Again, \boxed{7}.")])


@pytest.mark.parametrize("example", readme.examples(), ids=str)
def test_an_example_of_the_readme_does_what_it_says(serve: Serve, example: Block) -> None:
    readme.check(example, readme.run(example, url=serve(script()).url, model="scripted", timeout_s=60))


def replies() -> list[dict[str, Any]]:
    return [json.loads(block.text) for block in blocks(ROOT / "docs" / "server.md", "json")]


def unknown(shown: Any, real: Any, where: str = "") -> list[str]:
    """Fields of an example that a real reply has not. An example may leave fields out below its top."""
    if isinstance(shown, dict) and isinstance(real, dict):
        strange = [f"{where}.{name}" for name in shown if name not in real]
        return strange + [fault for name in shown if name in real for fault in unknown(shown[name], real[name], f"{where}.{name}")]
    if isinstance(shown, list) and isinstance(real, list):
        return [f"{where}[{k}]" for k, item in enumerate(shown) if all(unknown(item, other) for other in real)]
    return [] if shown is None or real is None or type(shown) is type(real) else [where]


@pytest.mark.parametrize("kind", list(PATHS))
async def test_an_example_reply_has_the_fields_of_a_real_one(serve: Serve, kind: str) -> None:
    path, body = PATHS[kind]
    async with serve(script()).client() as client:
        real = (await client.post(path, json=body)).json()
    (shown,) = [reply for reply in replies() if reply.get("object") == kind]
    assert set(shown) == set(real)
    assert unknown(shown, real) == []


async def test_the_example_error_is_the_real_one(serve: Serve) -> None:
    async with serve(script()).client() as client:
        real = (await client.post("/solve", json={**ASK, "loop": {"drafts": 0}})).json()
    assert [reply for reply in replies() if "error" in reply] == [real]
