"""Adapters from the hub: a hub of our own behind a real socket, asked by the real client."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from server.adapters.errors import Check, Refused
from server.adapters.hub import HubUnreachable, parse
from server.adapters.store import CONFIG, WEIGHTS
from tests.server.adapters.making import Home, adapter

SHA, OTHER = "a" * 40, "b" * 40
REPO = "team/critic"
SPEC = f"hub:{REPO}?revision={SHA}"


class HubServer:
    """`files` are those of one repository at one commit."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.broken = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                tree, file = f"/api/models/{REPO}/tree/{SHA}", f"/{REPO}/resolve/{SHA}/"
                name = path.removeprefix(file)
                outer.asked[path] += self.command == "GET"
                if outer.broken:
                    self.send_error(503)
                elif path == tree:
                    listed = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in outer.files.items()]
                    self._answer(json.dumps(listed).encode(), "application/json")
                elif path.startswith(file) and name in outer.files:
                    self._answer(outer.files[name], "application/octet-stream")
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RevisionNotFound" if REPO in path else "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                for key, value in {
                    "Content-Type": kind,
                    "Content-Length": str(len(body)),
                    "ETag": f'"{hash(body)}"',
                    "X-Repo-Commit": SHA,
                }.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(self, folder: Path) -> None:
        self.files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    server = HubServer()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_an_adapter_of_the_hub_is_fetched_once_and_admitted(home: Home, hub: HubServer, tmp_path: Path) -> None:
    source = Path(adapter(tmp_path / "made", 1.0))
    (source / "README.md").write_text("what it is")
    (source / "pytorch_model.bin").write_bytes(b"never fetched")
    hub.publish(source)
    gate = home.gate(hub=("team/*",))
    first = gate.admit(SPEC)
    assert (first.path / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert fetched == {CONFIG, WEIGHTS}
    before = hub.asked.total()
    assert gate.admit(SPEC).sha256 == first.sha256
    assert hub.asked.total() == before
    assert gate.signature(SPEC) == gate.signature(SPEC) is not None


@pytest.mark.parametrize(
    "source",
    [
        f"hub:{REPO}",
        f"hub:{REPO}?revision=main",
        f"hub:{REPO}?revision={SHA[:12]}",
        f"hub:../{REPO}?revision={SHA}",
        f"hub:critic?revision={SHA}",
        f"hub:{REPO}/x?revision={SHA}",
        f"hub:{REPO}?revision={SHA}\n",
    ],
)
def test_only_a_whole_commit_is_a_source(source: str) -> None:
    with pytest.raises(Refused, match="40 hexadecimal digits") as refusal:
        parse(source)
    assert refusal.value.check is Check.CONTAINMENT


@pytest.mark.parametrize("allowed", [(), ("other/*",), ("team/criti",)])
def test_only_listed_repositories_are_asked_for(home: Home, hub: HubServer, allowed: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match=r"adapters\.hub") as refusal:
        home.gate(hub=allowed).admit(SPEC)
    assert refusal.value.check is Check.CONTAINMENT
    assert not hub.asked


def test_what_the_hub_does_not_have_is_refused_and_what_it_does_not_say_is_no_refusal(home: Home, hub: HubServer, tmp_path: Path) -> None:
    gate = home.gate(hub=(REPO,), max_bytes=1 << 14)
    with pytest.raises(Refused, match="the hub has no team/critic") as refusal:
        gate.admit(f"hub:{REPO}?revision={OTHER}")
    assert refusal.value.check is Check.CONTAINMENT
    hub.files = {CONFIG: b"{}"}
    with pytest.raises(Refused, match=f"no {WEIGHTS}") as refusal:
        gate.admit(SPEC)
    assert refusal.value.check is Check.FORMAT
    hub.files = {CONFIG: b"{}", WEIGHTS: b"x" * (1 << 15)}
    with pytest.raises(Refused, match="over the limit") as refusal:
        gate.admit(SPEC)
    assert refusal.value.check is Check.SIZE
    assert not any("/resolve/" in path for path in hub.asked)
    hub.publish(Path(adapter(tmp_path / "made", 1.0)))
    hub.broken = True
    with pytest.raises(HubUnreachable, match="could not be fetched"):
        gate.admit(SPEC)
    hub.broken = False
    assert gate.admit(SPEC).sha256


def test_a_server_that_is_told_to_be_offline_says_so(home: Home, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match=r"(?i)offline"):
        home.gate(hub=(REPO,)).admit(SPEC)


def test_what_came_from_the_hub_is_checked_like_all_else(home: Home, hub: HubServer, tmp_path: Path) -> None:
    hub.publish(Path(adapter(tmp_path / "made", float("nan"))))
    with pytest.raises(Refused) as refusal:
        home.gate(hub=(REPO,)).admit(SPEC)
    assert refusal.value.check is Check.FINITE


def test_what_a_killed_fetch_left_is_swept_by_a_later_one(home: Home, hub: HubServer, tmp_path: Path) -> None:
    source = Path(adapter(tmp_path / "made", 1.0))
    hub.publish(source)
    gate = home.gate(hub=("team/*",))
    gate.admit(SPEC)
    place = next(folder for folder in tmp_path.rglob(SHA) if folder.is_dir()).parent
    old, fresh = place / ".fetch-old", place / ".fetch-fresh"
    for left in (old, fresh):
        left.mkdir()
        (left / WEIGHTS).write_bytes(b"half")
    os.utime(old, (0, 0))
    with pytest.raises(Refused):
        gate.admit(f"hub:{REPO}?revision={OTHER}")
    assert fresh.is_dir(), "another server may be fetching into it"
    assert not old.exists()
