"""Whether a critic still judges as it was measured, told without knowing any truth.

A critic says `correct` of right responses with its true positive rate and of wrong ones with its false positive rate. Whatever the mix of
right and wrong ones, the share of `correct` lies between the two: a share outside says that the rates no longer hold. What chance explains
(Wilson's interval at 95 %) is no drift. Knows no metrics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from redraft.calibration import wilson
from redraft.types import Calibration, Verdict

WINDOW = 512
"""So many of the last verdicts count."""


class Drift:
    """The last verdicts of one critic, beside what its calibration lets expect."""

    def __init__(self, expected: Calibration) -> None:
        self.expected = expected
        self._said: deque[bool] = deque(maxlen=WINDOW)

    def heard(self, verdicts: Iterable[Verdict]) -> None:
        self._said += [verdict is Verdict.CORRECT for verdict in verdicts if verdict is not Verdict.ABSTAIN]

    def observed(self) -> float:
        """The share of verdicts that say correct; NaN before the first one."""
        return sum(self._said) / len(self._said) if self._said else float("nan")

    def outside(self) -> float:
        """How far that share certainly lies outside of what is expected; 0 where it need not, negative where it is too low."""
        if not self._said:
            return 0.0
        least, most = wilson(sum(self._said), len(self._said))
        low, high = sorted((self.expected.fpr, self.expected.tpr))
        return max(0.0, least - high) + min(0.0, most - low)
