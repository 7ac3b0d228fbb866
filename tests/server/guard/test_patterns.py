"""The size of a pattern with its repeats written out, without compiling it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard.patterns import expanded


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0),
        ("abc", 3),
        (r"\d{4}-\d{2}-\d{2}", 10),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}", 23),
        ("a{3,}", 3),
        ("a{,7}", 7),
        ("a{0}", 1),
        ("a{b}", 4),
        ("(((a{99}){99}){99})", 99**3),
        (r"\(a{5}\)", 7),
        (r"[)(\]{9]{9}", 9),
        ("[]a]{9}", 9),
        ("[^]a]{9}", 9),
        (")a{3}", 4),
        ("((a", 1),
        ("(a|bc){100}", 400),
        ("a+b*c?", 6),
    ],
)
def test_size(pattern: str, size: int) -> None:
    assert expanded(pattern) == size


@given(
    st.recursive(
        st.sampled_from(["a", "[xy)]", r"\{", "."]), lambda inner: st.builds(lambda p, n: f"({p}{p}){{{n}}}", inner, st.integers(1, 5))
    )
)
def test_it_is_the_number_of_characters_that_match(pattern: str) -> None:
    """Where a pattern has one length only, it is the length of what it matches."""
    size = expanded(pattern)
    text = pattern
    while (group := re.search(r"\(((?:\\.|\[[^\]]*\]|[^()\[\\])*)\)\{(\d)\}", text)) is not None:
        text = text[: group.start()] + group[1] * int(group[2]) + text[group.end() :]
    assert size == len(re.findall(r"\\.|\[[^\]]*\]|.", text))


@given(st.text(max_size=200))
def test_any_text_is_measured(pattern: str) -> None:
    assert expanded(pattern) >= 0
