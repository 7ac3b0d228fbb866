from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redraft.budget import MIN_CALL_TOKENS, Budget, Exhausted
from redraft.types import Stop


def test_reservations_are_given_back() -> None:
    budget = Budget(max_tokens=100, max_calls=10, deadline_s=None)
    n, each = budget.reserve(want=20, n=4)
    assert (n, each, budget.tokens_left) == (4, 20, 20)
    budget.settle(reserved=80, used=15)
    assert budget.tokens_left == 85


def test_fewer_completions_before_useless_ones() -> None:
    assert Budget(max_tokens=20, max_calls=1, deadline_s=None).reserve(want=100, n=8) == (2, 10)


@pytest.mark.parametrize(
    ("budget", "stop"),
    [
        (Budget(max_tokens=MIN_CALL_TOKENS - 1, max_calls=1, deadline_s=None), Stop.MAX_TOKENS),
        (Budget(max_tokens=1000, max_calls=0, deadline_s=None), Stop.MAX_CALLS),
        (Budget(max_tokens=1000, max_calls=1, deadline_s=1.0, clock=iter([0.0, 2.0]).__next__), Stop.DEADLINE),
    ],
)
def test_each_limit_says_its_name(budget: Budget, stop: Stop) -> None:
    with pytest.raises(Exhausted) as limit:
        budget.reserve(want=50)
    assert limit.value.stop is stop


@given(total=st.integers(0, 500), wants=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 8), st.floats(0, 1)), max_size=20))
def test_what_is_used_never_exceeds_the_total(total: int, wants: list[tuple[int, int, float]]) -> None:
    budget = Budget(max_tokens=total, max_calls=1000, deadline_s=None)
    used = 0
    for want, n, share in wants:
        try:
            granted, each = budget.reserve(want=want, n=n)
        except Exhausted:
            continue
        spent = int(granted * each * share)
        used += spent
        budget.settle(reserved=granted * each, used=spent)
    assert used <= total
