"""A real HTTP server on a real socket that speaks the OpenAI form and `/solve`, and says what a script tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from aiohttp import web

Body = dict[str, Any]
Script = Callable[[Body, int], Awaitable["web.StreamResponse | Stream"]]


def problem_of(body: Body) -> str:
    return body["problem"] if "problem" in body else body["messages"][-1]["content"]


def chat(contents: Sequence[str], *, finish: str = "stop", prompt: int = 10, completion: int = 5) -> web.Response:
    """A chat completion with one choice for each content; `completion` tokens each."""
    choices = [{"index": i, "message": {"role": "assistant", "content": c}, "finish_reason": finish} for i, c in enumerate(contents)]
    usage = {"prompt_tokens": prompt, "completion_tokens": completion * len(contents), "total_tokens": 0}
    return web.json_response({"id": "x", "object": "chat.completion", "choices": choices, "usage": usage})


def failure(status: int, message: str = "no", **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "x", "code": status}}, status=status, headers=headers)


async def streamed(request_body: Body, pieces: Sequence[str], *, pause_s: float = 0.0, cut: bool = False) -> Stream:
    """A streamed chat completion of one choice, piece by piece; `cut` breaks it off before its end."""

    async def send(response: web.StreamResponse) -> None:
        assert request_body["stream"] is True
        assert request_body["stream_options"] == {"include_usage": True}
        await _event(response, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for piece in pieces:
            await asyncio.sleep(pause_s)
            await _event(response, {"choices": [{"index": 0, "delta": {"content": piece}}]})
        if cut:
            return
        await _event(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await _event(response, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": len(pieces)}})
        await response.write(b"data: [DONE]\n\n")

    return Stream(send)


async def _event(response: web.StreamResponse, payload: Body) -> None:
    await response.write(b"data: " + json.dumps(payload).encode() + b"\n\n")


@dataclass
class Stream:
    """What a script returns to have an event stream sent."""

    send: Callable[[web.StreamResponse], Awaitable[None]]


@dataclass
class ScriptedServer:
    """Answers each POST with `script(body, which time this problem is asked)`."""

    script: Script
    models: tuple[str, ...] = ("tiny", "tiny-critic")
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    base_url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        for path in ("/v1/chat/completions", "/solve", "/critique"):
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked[problem_of(body)] += 1
        self.bodies.append({**body, "path": request.path})
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            said = await self.script(body, self.asked[problem_of(body)])
            if not isinstance(said, Stream):
                return said
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await said.send(response)
            return response
        finally:
            self.in_flight -= 1


def says(contents: dict[str, Sequence[str] | str]) -> Script:
    """A script that answers each problem with its contents."""

    async def script(body: Body, time: int) -> web.StreamResponse:
        found = contents[problem_of(body)]
        return chat([found] if isinstance(found, str) else found)

    return script


async def run_cli(*arguments: str) -> tuple[int, str, str]:
    """`evalsuite ARGUMENTS` in a thread of this process: exit code, standard output, standard error."""
    return await asyncio.to_thread(_run_cli, list(arguments))


def _run_cli(arguments: list[str]) -> tuple[int, str, str]:
    from evalsuite.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, int)
    return exited.value.code, out.getvalue(), err.getvalue()


async def start_cli(*arguments: str) -> asyncio.subprocess.Process:
    """The same as a process of its own, to be killed. It listens to Ctrl-C even where the tests run in the background."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "evalsuite.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def rows(path: Any, problems: dict[str, str]) -> Any:
    """Write problems and their golds as a task file."""
    path.write_text("".join(json.dumps({"problem": p, "answer": a}) + "\n" for p, a in problems.items()))
    return path
