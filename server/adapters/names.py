"""Names: an alias, and a revision of it as `alias@hash12`."""

from __future__ import annotations

import re

from server.adapters.errors import Check, Refused

ALIAS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
LOOP_SUFFIX = ":loop"
"""`NAME:loop` is the model NAME inside the loop, for clients that only speak chat."""
SHORT = 12
"""Hexadecimal digits of the content hash in a revision's name."""


def check_alias(name: str) -> None:
    """Raises Refused for a name that cannot be an alias."""
    if not ALIAS.fullmatch(name):
        raise Refused(Check.NAME, f"{name[:80]!r} is no name: 1 to 64 letters, digits, `.`, `_`, `-`, a letter or digit at both ends")


def revision_name(alias: str, sha256: str) -> str:
    return f"{alias}@{sha256[:SHORT]}"
