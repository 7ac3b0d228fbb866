"""Nothing that a client or the operator keeps secret reaches a log: keys, problems, drafts, whatever goes well or wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.servers import free_port, running
from redraft.errors import EngineFailed
from redraft.scripted import Reply, ScriptedEngine
from tests.conftest import Script, verdict
from tests.openai_server import listening, upstream

REDRAFT = Path(sys.executable).with_name("redraft")
KEY, ENGINE_KEY, WRONG, PROBLEM, DRAFT = (f"canary-{name}-7f3a" for name in ("key", "engine", "wrong", "problem", "draft"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    drafts = [
        Reply(f"{DRAFT} \\boxed{{4}}"),
        Reply(f"{DRAFT} \\boxed{{5}}"),
        Reply(f"{DRAFT} half", error=EngineFailed(f"broke at {DRAFT}")),
    ]
    engine = ScriptedEngine(Script(drafts, critic=verdict(0.2, f"{DRAFT} is wrong")), models=("scripted", "critic"))
    log, port = tmp_path / "server.log", free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {"REDRAFT_API_KEY": KEY, "REDRAFT_ENGINE_API_KEY": ENGINE_KEY, "REDRAFT_HOME": str(tmp_path)}
    with listening(upstream(engine)) as behind:
        command = [str(REDRAFT), "serve", "--engine-url", behind, "--port", str(port)]
        with running(command, health=f"{url}/health/ready", log=log, env=environment):
            yield url, log


def test_no_secret_reaches_a_log(served: tuple[str, Path]) -> None:
    url, log = served
    good, wrong = {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {WRONG}"}
    chat = {"model": "scripted", "messages": [{"role": "user", "content": PROBLEM}]}
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.post("/solve", json={"problem": PROBLEM}, headers=good).status_code == 200
        assert client.post("/solve", json={"problem": PROBLEM, "stream": True}, headers=good).status_code == 200
        assert client.post("/critique", json={"problem": PROBLEM, "response": DRAFT}, headers=good).status_code == 200
        assert client.post("/v1/chat/completions", json=chat, headers=good).status_code == 200
        assert client.post("/v1/chat/completions", json={**chat, "stream": True}, headers=good).status_code == 200
        assert client.post("/solve", json={"problem": PROBLEM, PROBLEM: 1}, headers=good).status_code == 400
        assert client.post("/solve", content=f'{{"{PROBLEM}', headers=good).status_code == 400
        assert client.post("/v1/chat/completions", json={**chat, "model": PROBLEM}, headers=good).status_code == 404
        assert client.get("/v1/models", headers=wrong).status_code == 401
        assert client.get(f"/v1/models?key={WRONG}").status_code == 401
        assert client.get(f"/{WRONG}").status_code == 401
        assert client.get("/v1/models", headers={"Host": f"{WRONG}.example"}).status_code == 403
        series = client.get("/metrics", headers=good).text
    told = log.read_text(encoding="utf-8")
    assert "redraft is ready" in told
    assert [secret for secret in (KEY, ENGINE_KEY, WRONG, PROBLEM, DRAFT) if secret in told + series] == []
