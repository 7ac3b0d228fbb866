"""The opinion of math-verify on what our parser cannot read. Runs inside a worker process only.

Only its LaTeX grammar is asked (never its expression reader, which evaluates), only on text made of mathematical characters, and
its «equal» counts only when it says so in both directions.
"""

import re
from typing import Any, Final

_SAFE: Final = re.compile(r"[A-Za-z0-9\\{}^_+\-*/=(),.|\[\]<>!&:' \n]{1,600}")
_CODE: Final = re.compile(r"__|import|lambda|exec|eval|open\(|print|os\.|sys\.|\^\s*\{?[0-9]{4}|!{2}|[0-9]{4,}\s*!|\^[^{}]{0,20}\^")
_TIMEOUT_S: Final = 2


def agrees(gold: str, pred: str) -> bool:
    if any(not _SAFE.fullmatch(text) or _CODE.search(text) for text in (gold, pred)):
        return False
    from math_verify import verify

    first, second = _parsed(gold), _parsed(pred)
    if not first or not second or isinstance(first[0], str) or isinstance(second[0], str):
        return False
    return bool(verify(first, second, timeout_seconds=_TIMEOUT_S) and verify(second, first, timeout_seconds=_TIMEOUT_S))


def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    found: list[Any] = parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=_TIMEOUT_S)
    return found
