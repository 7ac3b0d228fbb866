"""Keeps one key's requests from timing another's prefix cache: each key's prompts are hashed with a salt of their own.

vLLM shares the blocks of equal prompts; a prompt that comes back fast was asked before. With a salt only the key itself learns that.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from redraft.engine import Generation, Stream
from redraft.options import LoopOptions
from server.keys.key import Key
from server.share import Share

FIELD = "cache_salt"
IN_SCOPE = "redraft.cache_salt"
"""Where a request's salt is in its scope."""


def salt_of(key: Key, own: str = "") -> str:
    """The same in every replica and after a restart; nobody else can compute it. `own` is a salt that the client brought."""
    return hmac.new(key.digest, f"cache_salt:{own}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


class Salted:
    """The loops' engine with every generation carrying the salt."""

    def __init__(self, share: Share | Salted, salt: str) -> None:
        self._share = share
        self._salt = salt

    def fitted(self, options: LoopOptions) -> LoopOptions:
        return self._share.fitted(options)

    def stream(self, request: Generation) -> AbstractAsyncContextManager[Stream]:
        return self._share.stream(replace(request, extra={**(request.extra or {}), FIELD: self._salt}))

    async def models(self) -> list[str]:
        return await self._share.models()
