"""Whether two expressions have one value: the exact layer, then refutation by numbers.

`Judge.expressions` answers True or False when it knows and None when only a symbolic proof could tell. The worker process
gives it a `prove` that asks SymPy; in the caller's process there is none.
"""

from collections.abc import Callable
from typing import TypeAlias

from evalsuite.checker import approx
from evalsuite.checker.algebra import Normal
from evalsuite.checker.limits import TooLargeError, UnreadableError
from evalsuite.checker.rounding import rounds_to
from evalsuite.checker.tree import Name, Negative, Node, is_scalar, walk

Proof: TypeAlias = Callable[[Node, Node], bool | None]


class Judge:
    def __init__(self, prove: Proof | None = None) -> None:
        self._prove = prove
        self.used_proof = False

    def expressions(self, gold: Node, pred: Node) -> bool | None:
        """Whether the two are equal as numbers or functions; `gold` may be a rounded decimal."""
        if gold == pred:
            return True
        if not is_scalar(gold) or not is_scalar(pred):
            return False
        if has_infinity(gold) or has_infinity(pred):
            return _sign_of_infinity(gold) == _sign_of_infinity(pred) != 0
        verdict = self._values(gold, pred)
        if verdict is not True and rounds_to(gold, pred):
            return True
        if verdict is None and self._prove is not None:
            self.used_proof = True
            return self._prove(gold, pred)
        return verdict

    @staticmethod
    def _values(gold: Node, pred: Node) -> bool | None:
        normal = Normal()
        try:
            verdict = normal.equal(normal.of(gold), normal.of(pred))
        except TooLargeError:
            verdict = None
        except UnreadableError:
            return False
        if verdict is None and approx.differ(gold, pred):
            return False
        return verdict


def has_infinity(node: Node) -> bool:
    return any(part == Name("oo") for part in walk(node))


def _sign_of_infinity(node: Node) -> int:
    if node == Name("oo"):
        return 1
    if isinstance(node, Negative):
        return -_sign_of_infinity(node.operand)
    return 0
