"""JSON whose text can be written down again: a lone surrogate, which an escape can smuggle in, becomes a question mark."""

from __future__ import annotations

import json
from typing import Any


def loads(raw: bytes | str) -> Any:
    """As `json.loads`, with text that is valid Unicode. Raises ValueError for what is not JSON, or is nested too deep."""
    try:
        value = json.loads(raw)
        if "\\u" not in (raw if isinstance(raw, str) else raw.decode("utf-8", "replace")):
            return value
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
