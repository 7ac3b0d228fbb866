"""The suite against the project's own server, over a scripted engine: both sides of the wire forms are the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from redraft.engine import Generation
from redraft.scripted import Reply
from tests.conftest import Script, verdict
from tests.evalsuite.scripted_server import rows, run_cli
from tests.server.conftest import Serve, serve

__all__ = ["serve"]


def critic(request: Generation) -> list[Reply]:
    """Right about everything: it says `right` where it reads the answer 4."""
    good = any("boxed{4}" in message["content"] for message in request.messages)
    return verdict(0.9 if good else 0.1, "I looked.")(request)


async def test_direct_vote_loop_and_critique_on_the_real_server(serve: Serve, tmp_path: Path) -> None:
    drafts = [r"\boxed{4}", r"\boxed{4}", r"\boxed{5}"]
    served = serve(Script(drafts * 20, critic=critic))
    task = rows(tmp_path / "sums.jsonl", {"2+2?": "4"})
    common = ("--base-url", served.url, "--concurrency", "1", "--json")

    async def measured(name: str, *more: str) -> dict[str, Any]:
        code, out, err = await run_cli("run", "--out", str(tmp_path / name), *common, *more)
        assert code == 0, err
        value: dict[str, Any] = json.loads(out)
        return value

    vote = await measured("vote", "--task", str(task), "--strategy", "vote", "--n", "3", "--stream")
    assert vote["counts"]["responses"] == 3
    assert vote["latency_s"]["ttft"]["n"] == 1
    loop = await measured("loop", "--task", str(task), "--strategy", "loop", "--n", "3", "--critic", "critic", "--budget", "2000")
    assert loop["accuracy"]["value"] == 1.0
    assert loop["loop"]["steps"]["solve"] == 3
    judged = await measured("critique", "--task", str(tmp_path / "vote"), "--strategy", "critique", "--model", "critic")
    assert judged["critic"]["responses"] == 3
    assert judged["accuracy"]["value"] == 1.0
    code, _, err = await run_cli("report", str(tmp_path / "vote"), str(tmp_path / "loop"))
    assert code == 0, err
