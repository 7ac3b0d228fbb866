"""How large a regular expression is once its repeats are written out. Compiles nothing: the text may be hostile."""

from __future__ import annotations

import re

REPEAT = re.compile(r"\{(\d{0,9})(?:,(\d{0,9}))?\}")


def expanded(pattern: str) -> int:
    """Characters of the pattern with `{m,n}` written out n times (m, where n is open). An upper estimate for any engine.

    >>> expanded("((ab){10}){10}")
    200
    """
    groups = [0]
    last = 0
    """What a following repeat repeats: a character, a class or a group."""
    at = 0
    while at < len(pattern):
        character, step = pattern[at], 1
        if character == "(":
            groups.append(0)
            last = 0
        elif character == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif character == "{" and (repeat := REPEAT.match(pattern, at)) is not None:
            times = max(int(bound) for bound in (repeat[1] or 0, repeat[2] or 0, 1))
            groups[-1] += last * (times - 1)
            last *= times
            step = len(repeat[0])
        else:
            step = _width(pattern, at)
            last = 1
            groups[-1] += 1
        at += step
    return sum(groups)


def _width(pattern: str, at: int) -> int:
    """Characters of the escape, class or single character that begins at `at`."""
    if pattern[at] == "\\":
        return 2
    if pattern[at] != "[":
        return 1
    end = at + 1 + pattern.startswith("^", at + 1)
    end += pattern.startswith("]", end)
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end + 1 - at
