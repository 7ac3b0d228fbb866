"""What an API key is: a random secret, known here by its hash, and what its holder may do. Knows neither files nor requests."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum

PREFIX = "rd"
SECRET_BYTES = 32
FORM = re.compile(rf"{PREFIX}-([0-9a-f]{{12}})-[A-Za-z0-9_-]{{43}}")


class Scope(StrEnum):
    INFER = "infer"
    """Loops, critiques, vLLM's inference routes, the list of models."""
    EVAL = "eval"
    """All of `infer`, and what a measurement needs: scores, batches, versions, which adapters serve."""
    METRICS = "metrics"
    """Prometheus series, and nothing else."""
    ADMIN = "admin"
    """Everything, adapters and every route that nobody has listed among them."""


IMPLIED = {
    Scope.INFER: frozenset({Scope.INFER}),
    Scope.EVAL: frozenset({Scope.INFER, Scope.EVAL}),
    Scope.METRICS: frozenset({Scope.METRICS}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """None is unlimited."""

    requests: int | None = None
    """A minute, of any kind."""
    tokens: int | None = None
    """A minute, prompts and generated ones together."""
    parallel: int | None = None
    """Loops and critiques that run or wait at once."""


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    name: str
    digest: bytes = field(repr=False)
    """SHA-256 of the whole secret. A slow password hash would protect nothing here: 256 random bits cannot be guessed from their hash."""
    scopes: frozenset[Scope]
    limits: KeyLimits = KeyLimits()
    models: frozenset[str] = frozenset()
    """Models and adapters that it may name; empty: all."""
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None

    def may(self, scope: Scope) -> bool:
        return any(scope in IMPLIED[own] for own in self.scopes)

    def may_use(self, model: str) -> bool:
        """For the name of a served model or adapter; an alias stands for its revisions."""
        return not self.models or model in self.models or model.partition("@")[0] in self.models

    def fault(self, now: float | None = None) -> str | None:
        """Why it no longer opens anything, or None."""
        if self.revoked is not None:
            return "this API key has been revoked"
        if self.expires is not None and self.expires <= (time.time() if now is None else now):
            return "this API key has expired"
        return None


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_secret() -> tuple[str, str]:
    """(id, secret) of a new key. The id is the secret's middle part, so that a key can be named without being told."""
    identity = secrets.token_hex(6)
    return identity, f"{PREFIX}-{identity}-{secrets.token_urlsafe(SECRET_BYTES)}"


def id_of(secret: str) -> str | None:
    """The id inside a secret of our form; None for any other text."""
    found = FORM.fullmatch(secret)
    return None if found is None else found[1]


def fixed(secret: str) -> Key:
    """A key from the settings: all scopes, no limits, for as long as the settings name it."""
    hashed = digest(secret)
    return Key(f"setting-{hashed.hex()[:8]}", "settings", hashed, frozenset({Scope.ADMIN}))
