"""How many tokens a reply took, read from the reply itself as it passes. For keys whose tokens are limited; others' replies are not read.

The engine's `usage` counts. A stream without one is counted by its events, of which the engine sends one for each token or more.
"""

from __future__ import annotations

import re

from starlette.types import Message, Send

KEPT_BYTES = 65_536
"""Of the end of a reply, where `usage` stands."""
USAGE = re.compile(rb'"usage":\s?\{')
"""Never part of a model's text: there the quotes are escaped."""
TOTAL = re.compile(rb'"total_tokens":\s?(\d{1,12})')
PARTS = re.compile(rb'"(?:input|output)_tokens":\s?(\d{1,12})')


class Counted:
    """A `send` that passes everything on at once and remembers the end of it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._end = b""
        self._events = 0
        self._streams = False
        self._failed = True

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._failed = message["status"] >= 400
            self._streams = any(name.lower() == b"content-type" and b"event-stream" in value for name, value in message["headers"])
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self._end = (self._end + body)[-KEPT_BYTES:]
            self._events += body.count(b"data:") if self._streams else 0
        await self._send(message)

    def tokens(self, reserved: int) -> int:
        """What the reply took. One that was cut off before it said so keeps what was reserved, or what was streamed; a refusal is free."""
        last = max((found.end() for found in USAGE.finditer(self._end)), default=None)
        if last is not None:
            told = self._end[last:]
            total = TOTAL.search(told)
            return int(total[1]) if total is not None else sum(int(part) for part in PARTS.findall(told)[:2])
        if self._streams:
            return self._events
        return 0 if self._failed else reserved
