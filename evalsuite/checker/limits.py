"""The sizes past which the checker refuses to evaluate. They are checked before any arithmetic is done.

Nothing here depends on the machine's speed: a refusal is a property of the answer's text.
"""

from typing import Final

MAX_REPLY_CHARS: Final = 400_000
"""Only this much of the end of a reply is searched for an answer."""

MAX_ANSWER_CHARS: Final = 4_000
"""A longer answer is compared as text only."""

MAX_TOKENS: Final = 1_500
MAX_DEPTH: Final = 48
MAX_BITS: Final = 40_000
"""An integer wider than this is never computed (about 12,000 decimal digits)."""

MAX_FACTORIAL: Final = 3_000
MAX_TERMS: Final = 600
"""Terms of an expanded polynomial."""

MAX_EXPANDED_POWER: Final = 64
"""A sum is multiplied out up to this power."""

MAX_TRIAL_FACTOR: Final = 10_000
"""Primes tried when a radicand is factored."""

MAX_MEMBERS: Final = 200
MAX_SIGNS: Final = 4
"""Independent plus-minus signs that are expanded (to 16 values)."""


class TooLargeError(ValueError):
    """The answer asks for more arithmetic than is allowed before evaluation."""


class UnreadableError(ValueError):
    """The text is not in the grammar of answers."""
