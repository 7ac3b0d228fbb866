"""Right and wrong responses compared at equal votes: the weights that make them comparable. Pure functions.

A loop knows how many drafts gave an answer before it asks its critic, and a critic that solves the problem itself tends to say `correct`
of what most drafts say. Over all answers such a critic has good rates; where two answers have as many votes each, it knows nothing. So
responses are compared within strata of equal votes, each stratum with the weight n1 n0 / (n1 + n0) of its n1 right and n0 wrong ones (the
weights of Cochran, Biometrics 1954, and of Mantel and Haenszel, JNCI 1959). A stratum with one kind alone tells nothing and weighs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


def weights(responses: Sequence[tuple[int, bool]]) -> list[float]:
    """The weight of each response, from the votes of its answer and whether it is right. Those of right and of wrong responses have the
    same sum: 0 where no right answer has as many votes as a wrong one."""
    count = Counter(responses)

    def of(votes: int, correct: bool) -> float:
        own, other = count[votes, correct], count[votes, not correct]
        return other / (own + other)

    return [of(votes, correct) for votes, correct in responses]


def size(found: Iterable[float]) -> float:
    """How many equally weighted responses tell as much (Kish's effective sample size)."""
    known = list(found)
    squares = sum(weight * weight for weight in known)
    return sum(known) ** 2 / squares if squares else 0.0
