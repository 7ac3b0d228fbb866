"""Publishing: what is refused, what goes into the manifest, and a server that takes the adapter, or does not."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from redraft.errors import BadRequest, EngineFailed, EngineTimeout, EngineUnavailable, ModelNotFound, Unauthorized
from trainer.adapters import artifact
from trainer.adapters.adapter import check
from trainer.adapters.publish import publish
from trainer.adapters.serving import AdapterServer, Served
from trainer.config import FitConfig
from trainer.errors import BadAdapter, BadRun, Diverged
from trainer.origin import digest, sha256

from .test_cli import trainer

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
SUMMARY: dict[str, Any] = {
    "task": {"name": "redraft-arith@0", "fingerprint": "f", "problems": 40},
    "model": "critic",
    "strategy": "critique",
    "complete": True,
    "accuracy": {"value": 0.8, "low": 0.65, "high": 0.9, "n": 40},
    "critic": {"balanced_accuracy": 0.8, "tpr": 0.9, "tnr": 0.7, "brier": 0.1, "bins": []},
}


def weights(folder: Path, rank: int = 4, fill: float = 0.5) -> None:
    a, b = np.full((rank, 8), fill, dtype=np.float32), np.zeros((6, rank), dtype=np.float32)
    save_file({f"{LAYER}.lora_A.weight": a, f"{LAYER}.lora_B.weight": b}, folder / artifact.WEIGHTS)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter as `fit` leaves it."""
    staged = tmp_path / "staged"
    staged.mkdir()
    weights(staged)
    (staged / artifact.CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}))
    config = FitConfig.model_validate({"method": "cft", "model": "m", "data": ["x"], "output": "critic", "lora": {"rank": 4}})
    manifest = {
        "name": "critic",
        "method": "cft",
        "base": {"model": "m"},
        "data": [],
        "examples": 3,
        "trained_tokens": 9,
        "config": config.model_dump(mode="json"),
        "metrics": {"train_loss": 0.5},
    }
    artifact.write(staged, tmp_path / "critic", manifest)
    return tmp_path / "critic"


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / artifact.MANIFEST).read_text())
    return found


def settle(folder: Path) -> None:
    """Make the manifest's hashes those of the files."""
    files = {name: sha256(folder / name) for name in (artifact.CONFIG, artifact.WEIGHTS)}
    manifest = {**manifest_of(folder), "files": files, "content_sha256": digest(files)}
    (folder / artifact.MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def summary(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "summary.json", **changed: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({**SUMMARY, **changed}))
        return path

    return write


def test_results_go_into_manifest_and_card_and_the_content_stays(adapter: Path, summary: Callable[..., Path]) -> None:
    before, files = manifest_of(adapter), {path.name for path in adapter.iterdir()}
    path = summary()
    done = publish(adapter, [path, path])
    (entry,) = done.manifest["evaluation"]
    assert entry["sha256"] == sha256(path)
    assert entry["critic"]["balanced_accuracy"] == 0.8
    assert manifest_of(adapter) == done.manifest == {**before, "evaluation": [entry]}
    assert "accuracy 80.0% (65.0% to 90.0%); balanced accuracy 0.800" in (adapter / artifact.CARD).read_text()
    assert check(adapter)["content_sha256"] == before["content_sha256"]
    assert {path.name for path in adapter.iterdir()} == files
    more = publish(adapter, [path, summary("other.json", model="other")])
    assert [row["model"] for row in more.manifest["evaluation"]] == ["critic", "other"]


def test_a_copy_is_completed_and_the_original_left(adapter: Path, summary: Callable[..., Path], tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}
    out = tmp_path / "deep" / "out"
    done = publish(adapter, [summary()], out)
    assert done.path == out
    assert len(manifest_of(out)["evaluation"]) == 1
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == before
    assert len(publish(adapter, [summary("b.json", model="b")], out).manifest["evaluation"]) == 2
    weights(adapter, fill=0.25)
    settle(adapter)
    with pytest.raises(BadRun, match="holds another adapter"):
        publish(adapter, [], out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_no_server_should_be_given_is_refused_by_its_check(adapter: Path, tmp_path: Path) -> None:
    def broken(name: str, change: Callable[[Path], object], *, settled: bool = True) -> str:
        folder = tmp_path / name
        shutil.copytree(adapter, folder)
        change(folder)
        if settled:
            settle(folder)
        with pytest.raises(BadAdapter) as caught:
            publish(folder, [])
        assert str(folder) in caught.value.message
        return caught.value.check

    def config(**fields: Any) -> Callable[[Path], object]:
        return lambda folder: (folder / artifact.CONFIG).write_text(json.dumps({"r": 4, **fields}))

    assert broken("a", lambda folder: (folder / artifact.MANIFEST).unlink(), settled=False) == artifact.MANIFEST
    assert broken("b", lambda folder: weights(folder, fill=0.25), settled=False) == "files"
    assert broken("c", lambda folder: (folder / artifact.CONFIG).unlink(), settled=False) == "files"
    assert broken("d", lambda folder: (folder / "optimizer.pt").touch()) == "safetensors"
    assert broken("e", lambda folder: (folder / artifact.WEIGHTS).write_bytes(b"no")) == "safetensors"
    assert broken("f", lambda folder: weights(folder, rank=3)) == "rank"
    assert broken("g", config(r=8)) == "rank"
    assert broken("h", config(use_dora=True)) == artifact.CONFIG
    assert broken("i", lambda folder: _edit(folder, content_sha256="0"), settled=False) == "content_sha256"
    assert broken("j", lambda folder: _edit(folder, schema=2), settled=False) == artifact.MANIFEST
    weights(adapter, fill=float("nan"))
    settle(adapter)
    with pytest.raises(Diverged, match="not finite"):
        publish(adapter, [])


def _edit(folder: Path, **fields: Any) -> None:
    (folder / artifact.MANIFEST).write_text(json.dumps({**manifest_of(folder), **fields}))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"complete": False}, "not complete"),
        ({"adapter": "0" * 64}, "measures another adapter"),
        ({"task": None, "complete": None}, "not complete"),
    ],
)
def test_a_summary_that_says_nothing_of_this_adapter_is_refused(
    adapter: Path, summary: Callable[..., Path], changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadRun, match=says):
        publish(adapter, [summary(**changed)])
    assert "evaluation" not in manifest_of(adapter)


def test_a_file_that_is_no_summary_is_refused(adapter: Path, tmp_path: Path) -> None:
    for text, says in (("{", "not JSON"), ("[]", "expected a summary"), ("{}", "expected a summary")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(BadRun, match=says):
            publish(adapter, [tmp_path / "x.json"])


class Scripted:
    """A server that gives the scripted replies by method and path, the last one again and again, and keeps what it was asked."""

    def __init__(self, replies: dict[str, list[tuple[int, Any]]]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, Any, str | None]] = []

    def answer(self, route: str, body: Any, key: str | None) -> tuple[int, Any]:
        self.asked.append((route, body, key))
        script = self.replies.get(route, [(404, {"detail": "Not Found"})])
        return script.pop(0) if len(script) > 1 else script[0]


@contextmanager
def serving(replies: dict[str, list[tuple[int, Any]]]) -> Iterator[tuple[str, Scripted]]:
    script = Scripted(replies)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, reply = script.answer(f"{self.command} {self.path}", body, self.headers.get("authorization"))
            data = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if isinstance(reply, str) else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry(state: str, revision: str = "critic@0123456789ab", name: str = "critic") -> dict[str, str]:
    return {"name": name, "revision": revision, "state": state}


def refused(message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "adapter_refused", "param": param, "code": 400}}


def swap(url: str, timeout_s: float = 5.0) -> Served:
    with AdapterServer(url, api_key=None, timeout_s=timeout_s, poll_s=0.005) as server:
        return server.swap("critic", "/there")


def test_an_adapter_is_waited_for_until_it_is_served() -> None:
    listed = [{"data": [entry("serving", "critic@old"), entry(state)]} for state in ("loading", "draining", "serving")]
    with serving({"POST /adapters": [(201, entry("loading"))], "GET /adapters": [(200, body) for body in listed]}) as (url, script):
        assert swap(f"{url}/v1") == Served("critic", "critic@0123456789ab", "serving")
    assert [route for route, _, _ in script.asked] == ["POST /adapters"] + ["GET /adapters"] * 3
    assert script.asked[0][1] == {"name": "critic", "source": "/there"}


@pytest.mark.parametrize(
    ("replies", "error", "says"),
    [
        ({"POST /adapters": [(400, refused("rank 99 is over 64", "rank"))]}, BadRequest, r"refused with 400: rank 99 is over 64 \(rank\)"),
        ({"POST /adapters": [(401, refused("no key"))]}, Unauthorized, "no key"),
        ({}, ModelNotFound, "refused with 404: .*plain vLLM"),
        ({"POST /adapters": [(405, {"detail": "Method Not Allowed"})]}, BadRequest, "refused with 405: .*plain vLLM"),
        ({"POST /adapters": [(200, "hello")]}, EngineFailed, "expected name, revision and state"),
        ({"POST /adapters": [(200, entry("loading"))], "GET /adapters": [(200, {"data": [entry("failed")]})]}, EngineFailed, "is failed"),
        ({"POST /adapters": [(200, entry("loading"))], "GET /adapters": [(200, {"data": []})]}, EngineFailed, "lists nothing"),
        ({"POST /adapters": [(200, entry("loading"))], "GET /adapters": [(200, [])]}, EngineFailed, "expected a list"),
    ],
)
def test_why_a_server_did_not_take_it(replies: dict[str, Any], error: type[Exception], says: str) -> None:
    with serving(replies) as (url, _), pytest.raises(error, match=says):
        swap(url)


def test_a_server_that_never_serves_it_and_one_that_is_not_there() -> None:
    replies = {"POST /adapters": [(200, entry("loading"))], "GET /adapters": [(200, {"data": [entry("loading")]})]}
    with serving(replies) as (url, _), pytest.raises(EngineTimeout, match=r"still loading after 0\.05 s"):
        swap(url, timeout_s=0.05)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        swap(url)


def test_the_command_hands_it_over_with_its_key(
    adapter: Path, summary: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with serving({"POST /adapters": [(200, entry("serving", name="judge"))]}) as (url, script):
        options = ("--to", url, "--alias", "judge", "--evaluation", summary(), "--api-key-env", "MY_KEY")
        assert trainer(monkeypatch, "publish", adapter, *options) == 0
    said = capsys.readouterr()
    assert said.out.strip() == "critic@0123456789ab"
    assert script.asked == [("POST /adapters", {"name": "judge", "source": str(adapter)}, "Bearer secret")]
    assert "secret" not in said.err
    assert len(manifest_of(adapter)["evaluation"]) == 1


def test_a_plain_vllm_is_only_asked_when_that_is_said(
    adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving({"POST /v1/load_lora_adapter": [(200, "Success: LoRA adapter 'critic' added successfully.")]}) as (url, script):
        assert trainer(monkeypatch, "publish", adapter, "--to", url) == 2
        assert "--vllm" in capsys.readouterr().err
        assert trainer(monkeypatch, "publish", adapter, "--to", url, "--vllm", "--server-path", "/models/critic") == 0
    assert capsys.readouterr().out.strip() == "critic"
    assert script.asked[-1][:2] == ("POST /v1/load_lora_adapter", {"lora_name": "critic", "lora_path": "/models/critic"})
    assert trainer(monkeypatch, "publish", adapter, "--vllm") == 2
    assert "--vllm belongs to --to" in capsys.readouterr().err
