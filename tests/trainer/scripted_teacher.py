"""An OpenAI-compatible endpoint on a real socket that answers whole, from a script: what the model teacher is tested against."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

Body = dict[str, Any]
RIGHT = (
    "Critique:\nStep 1: {left} should come to {true}; the solution has {said}: correct.\nFirst error: none\n"
    "Derivation: {left} = {true}\nAnswer: \\boxed{{{true}}}\nConclusion: right [END]"
)
WRONG = (
    "Step 1: {left} should come to {true}; the solution has {said}: incorrect.\nFirst error: 1\nWhy: the sum is off.\n"
    "Fix: {left} = {true}\nDerivation: {left} = {true}\nAnswer: \\boxed{{{true}}}\nConclusion: wrong [END]"
)


def judge(body: Body) -> str:
    """A teacher that is right about `What is A + B - C?`."""
    asked = body["messages"][-1]["content"]
    found = re.search(r"What is (\d+) \+ (\d+) - (\d+)\?", asked)
    said = re.search(r"\\boxed\{(\d+)\}", asked)
    assert found
    assert said
    a, b, c = map(int, found.groups())
    true = a + b - c
    form = RIGHT if int(said[1]) == true else WRONG
    return form.format(left=f"{a} + {b} - {c}", true=true, said=said[1])


class Teacher:
    """Serves `script`, which gives a reply's text or any response; `bodies` and `keys` are what came, in order."""

    def __init__(self, script: Callable[[Body], str | Response]) -> None:
        self.script = script
        self.bodies: list[Body] = []
        self.keys: list[str | None] = []

    def app(self, behind: FastAPI | None = None) -> FastAPI:
        """The endpoint; what asks for a stream goes to the app `behind`."""
        app = FastAPI()

        @app.middleware("http")
        async def answer(request: Request, onwards: Callable[[Request], Any]) -> Response:
            body = await request.json() if request.url.path == "/v1/chat/completions" else {"stream": True}
            if body.get("stream"):
                passed_on: Response = await onwards(request)
                return passed_on
            self.bodies.append(body)
            self.keys.append(request.headers.get("authorization"))
            reply = self.script(body)
            return completion(reply) if isinstance(reply, str) else reply

        if behind is not None:
            app.mount("/", behind)
        return app


def completion(text: str, finish_reason: str = "stop") -> Response:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": len(text.split())}
    return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], "usage": usage})


def refusal(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status, headers={name.replace("_", "-"): value for name, value in headers.items()})
