"""Which scope a route needs. What is not listed here needs `admin`: a route that vLLM or we add later is shut until somebody lists it.

Knows no app: methods and paths only.
"""

from __future__ import annotations

import re

from server.keys.key import Scope

OPEN = frozenset({("GET", "/health"), ("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/ping"), ("POST", "/ping")})
"""Probes, which never need a key."""

SOLVING = frozenset({"/solve", "/critique"})
CHAT = "/v1/chat/completions"
SALTED = frozenset({CHAT, "/v1/chat/completions/batch", "/v1/completions", "/v1/responses", "/v1/messages"})
"""Where vLLM takes a `cache_salt`."""
MEASURING = frozenset({"/v1/chat/completions/batch", "/generative_scoring", "/v1/systemone", "/score", "/v1/score"})
JSON = SALTED | SOLVING | MEASURING | {"/v1/embeddings", "/v1/messages/count_tokens", "/tokenize", "/detokenize"}
"""Their bodies are JSON objects, and are refused here when they are not."""

INFER = {("POST", path) for path in JSON - MEASURING} | {("GET", "/v1/models"), ("GET", "/docs"), ("GET", "/openapi.json")}
EVAL = {("POST", path) for path in MEASURING} | {("GET", "/adapters"), ("GET", "/load"), ("GET", "/version")}
EXACT = dict.fromkeys(INFER, Scope.INFER) | dict.fromkeys(EVAL, Scope.EVAL) | {("GET", "/metrics"): Scope.METRICS}
PATTERNS = (
    ("GET", re.compile(r"/v1/models/.+"), Scope.INFER),
    ("GET", re.compile(r"/v1/responses/[^/]+"), Scope.INFER),
    ("POST", re.compile(r"/v1/responses/[^/]+/cancel"), Scope.INFER),
    ("GET", re.compile(r"/adapters/[^/]+"), Scope.EVAL),
    ("GET", re.compile(r"/static/[^/]+"), Scope.INFER),
)


def needed(method: str, path: str) -> Scope:
    """The scope for a route that is not open."""
    method = "GET" if method == "HEAD" else method
    exact = EXACT.get((method, path))
    if exact is not None:
        return exact
    return next((scope for verb, form, scope in PATTERNS if verb == method and form.fullmatch(path)), Scope.ADMIN)
