"""What equal means: two answers are compared by type.

True and False are decisions; None means that only a symbolic proof could decide. The gold answer always comes first, because
the rounding rule looks at the gold alone.
"""

from fractions import Fraction

from evalsuite.checker import units
from evalsuite.checker.answers import Alternatives, Answer, Choice, Clock, Expression, Listing, Numeral, Proportion, Relation, Words
from evalsuite.checker.equations import same_relation
from evalsuite.checker.expansion import expanded
from evalsuite.checker.judge import Judge
from evalsuite.checker.limits import UnreadableError
from evalsuite.checker.matrices import entries, evaluated, has_matrix
from evalsuite.checker.regions import Region, region_of
from evalsuite.checker.tree import Braces, Degrees, Matrix, Name, Node, Number, Product, Quotient, Sequence, SetOperation

_ENDS = 2
"""An interval has two ends; square brackets around more members are a list."""


def same(gold: Answer, pred: Answer, judge: Judge) -> bool | None:
    return _same(expanded(gold), expanded(pred), judge)


def _same(gold: Answer, pred: Answer, judge: Judge) -> bool | None:  # one case per kind
    match gold, pred:
        case Choice(left), Choice(right):
            return left == right
        case Words(left, _), Words(right, _):
            return left == right
        case Numeral(), Numeral():
            return gold == pred
        case Clock(), Clock():
            return _same_time(gold, pred)
        case Proportion(left_terms), Proportion(right_terms):
            return _same_proportion(left_terms, right_terms, judge)
        case Expression(), Expression():
            return _same_expression(gold, pred, judge)
        case Relation(), Relation():
            verdict = same_relation(gold, pred, judge)
            return verdict if verdict else _any(verdict, _same_region(gold, pred, judge))
    return _mixed(gold, pred, judge)


def _mixed(gold: Answer, pred: Answer, judge: Judge) -> bool | None:  # one case per kind
    """Answers of two types that may still be one object."""
    match gold, pred:
        case Listing(), Listing():
            if any(isinstance(member, Relation) for member in (*gold.members, *pred.members)):
                return _any(_same_members(gold.members, pred.members, judge), _same_region(gold, pred, judge))
            return _same_listing(gold, pred, judge)
        case Alternatives(_, left), Alternatives(_, right):
            return _any(_same_members(left, right, judge), _same_region(gold, pred, judge))
        case (Listing(), Expression()) | (Expression(), Listing()):
            return _listing_with_expression(gold, pred, judge)
        case (Numeral(digits, 10), Expression()) | (Expression(), Numeral(digits, 10)):
            number = Expression(Number(Fraction(digits)))
            return _same(number if isinstance(gold, Numeral) else gold, number if isinstance(pred, Numeral) else pred, judge)
        case (Proportion((top, bottom)), Expression()) | (Expression(), Proportion((top, bottom))):
            ratio = Expression(Quotient(top, bottom))
            return _same(ratio if isinstance(gold, Proportion) else gold, ratio if isinstance(pred, Proportion) else pred, judge)
        case (Clock(), Proportion(terms)) | (Proportion(terms), Clock()):
            clock = gold if isinstance(gold, Clock) else pred
            assert isinstance(clock, Clock)
            written = [term.value for term in terms if isinstance(term, Number)]
            return clock.half is None and written == [Fraction(clock.hour), Fraction(clock.minute)]
        case (Relation(_, ("=",)), Expression()) | (Expression(), Relation(_, ("=",))):
            return _equation_with_expression(gold, pred, judge)
        case (Relation() | Alternatives(), _) | (_, Relation() | Alternatives()):
            return _same_region(gold, pred, judge)
    return False


def _any(*verdicts: bool | None) -> bool | None:
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _all(verdicts: list[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


# Expressions ---------------------------------------------------------------------------------------------------------------


def _same_expression(gold: Expression, pred: Expression, judge: Judge) -> bool | None:
    if not same_name(gold.name, pred.name):
        return _as_equations(gold, pred, judge)
    if units.conflict(gold.unit, pred.unit):
        return _angles(gold, pred, judge) if {gold.unit, pred.unit} == {("deg",), ("rad",)} else False
    verdict = nodes(gold.node, pred.node, judge)
    if verdict:
        return True
    percent = ("%" in gold.unit) - ("%" in pred.unit)
    if percent:
        hundred = Number(Fraction(100), 0, 3)
        right = Product((pred.node, hundred)) if percent > 0 else Quotient(pred.node, hundred)
        return _any(verdict, nodes(gold.node, right, judge))
    if ("deg" in gold.unit) != ("deg" in pred.unit):
        return _any(verdict, _angles(gold, pred, judge))
    return verdict


def _angles(gold: Expression, pred: Expression, judge: Judge) -> bool | None:
    left = Degrees(gold.node) if "deg" in gold.unit else gold.node
    right = Degrees(pred.node) if "deg" in pred.unit else pred.node
    return nodes(left, right, judge)


def same_name(first: str, second: str) -> bool:
    """Whether the names that two values were given to may be one: `x` and `y` are not, `y` and `f(x)` are."""
    if not first or not second or "?" in (first, second):
        return True
    return first == second or {first, second} <= {"y", "f:f", "f:y"} or len(first) > 3 or len(second) > 3


def _as_equations(gold: Expression, pred: Expression, judge: Judge) -> bool | None:
    """`y = x` and `x = y` give their values to different names and are one equation."""
    if ":" in gold.name + pred.name or not (gold.name and pred.name):
        return False
    left, right = Relation((Name(gold.name), gold.node), ("=",)), Relation((Name(pred.name), pred.node), ("=",))
    return same_relation(left, right, judge)


def _equation_with_expression(gold: Answer, pred: Answer, judge: Judge) -> bool | None:
    """An equation equals a value only as the assignment that it can be turned into."""
    relation, value = (gold, pred) if isinstance(gold, Relation) else (pred, gold)
    assert isinstance(relation, Relation)
    if isinstance(value, Expression) and value.name and value.name != "?" and ":" not in value.name:
        other = Relation((Name(value.name), value.node), ("=",))
        return same_relation(relation, other, judge)
    if isinstance(value, Expression) and value.name.startswith("f:"):
        return same_relation(relation, Relation((Name("y"), value.node), ("=",)), judge)
    return _same_region(gold, pred, judge)


def nodes(gold: Node, pred: Node, judge: Judge) -> bool | None:  # one case per kind
    """Whether two trees are one object: numbers, points, intervals, sets or matrices."""
    if gold == pred:
        return True
    if has_matrix(gold) or has_matrix(pred):
        return _same_matrices(gold, pred, judge)
    match gold, pred:
        case Sequence(left, first, right), Sequence(other_left, second, other_right):
            if (left, right) != (other_left, other_right) or len(first) != len(second):
                return False
            return _all([nodes(one, other, judge) for one, other in zip(first, second, strict=True)])
        case Braces(first), Braces(second):
            return _same_set(first, second, judge)
    if isinstance(gold, SetOperation | Sequence | Braces) or isinstance(pred, SetOperation | Sequence | Braces):
        return _any(_single(gold, pred, judge), _same_region(Expression(gold), Expression(pred), judge))
    return judge.expressions(gold, pred)


def _single(gold: Node, pred: Node, judge: Judge) -> bool | None:
    """A set of one number is that number; a sum of points is a point."""
    match gold, pred:
        case Braces((only,)), _ if not isinstance(pred, Sequence | SetOperation | Braces):
            return nodes(only, pred, judge)
        case _, Braces((only,)) if not isinstance(gold, Sequence | SetOperation | Braces):
            return nodes(gold, only, judge)
    return False


def _same_set(first: tuple[Node, ...], second: tuple[Node, ...], judge: Judge) -> bool | None:
    """Equality of finite sets: every member of each is in the other, however often it is written."""
    forward = [_any(*(nodes(one, other, judge) for other in second)) if second else False for one in first]
    backward = [_any(*(nodes(one, other, judge) for one in first)) if first else False for other in second]
    return _all(forward + backward)


def _same_matrices(gold: Node, pred: Node, judge: Judge) -> bool | None:
    try:
        left, right = evaluated(gold), evaluated(pred)
    except UnreadableError:
        return False
    first, second = entries(left, right), entries(right, left)
    if first is None or second is None or len(first) != len(second) or any(len(a) != len(b) for a, b in zip(first, second, strict=True)):
        return False
    return _all([nodes(a, b, judge) for row, other in zip(first, second, strict=True) for a, b in zip(row, other, strict=True)])


# Lists ---------------------------------------------------------------------------------------------------------------------


def _names(listing: Listing) -> list[str] | None:
    """The names of the members when each has its own."""
    names = [member.name for member in listing.members if isinstance(member, Expression) and member.name not in ("", "?")]
    return names if len(names) == len(listing.members) and len(set(names)) == len(names) > 1 else None


def _same_listing(gold: Listing, pred: Listing, judge: Judge) -> bool | None:
    first, second = _names(gold), _names(pred)
    if first is not None and second is not None:
        if set(first) != set(second):
            return False
        place = {name: index for index, name in enumerate(second)}
        return _all([_same(member, pred.members[place[name]], judge) for name, member in zip(first, gold.members, strict=True)])
    return _same_members(gold.members, pred.members, judge)


def _same_members(gold: tuple[Answer, ...], pred: tuple[Answer, ...], judge: Judge) -> bool | None:
    """Whether the members can be paired, in any order."""
    if len(gold) != len(pred):
        return False
    quick = _numbers(gold), _numbers(pred)
    if quick[0] is not None and quick[1] is not None and quick[0] == quick[1]:
        return True
    left = list(pred)
    unknown = False
    for member in gold:
        verdicts = [_same(member, other, judge) for other in left]
        if True in verdicts:
            del left[verdicts.index(True)]
        elif None in verdicts:
            unknown = True
            del left[verdicts.index(None)]
        else:
            return False
    return None if unknown else True


def _numbers(members: tuple[Answer, ...]) -> list[Fraction] | None:
    found: list[Fraction] = []
    for member in members:
        if not isinstance(member, Expression) or member.unit or member.name or not isinstance(member.node, Number):
            return None
        found.append(member.node.value)
    return sorted(found)


def _listing_with_expression(gold: Answer, pred: Answer, judge: Judge) -> bool | None:
    """A bare list is a set in any order, and a point or a vector in its own order."""
    listing, other = (gold, pred) if isinstance(gold, Listing) else (pred, gold)
    assert isinstance(listing, Listing)
    if not isinstance(other, Expression):
        return False
    node = other.node
    if isinstance(node, Braces) or (isinstance(node, Sequence) and node.left + node.right == "[]" and len(node.members) > _ENDS):
        members = tuple(Expression(member, other.unit) for member in node.members)
        left, right = (listing.members, members) if listing is gold else (members, listing.members)
        return _same_members(left, right, judge)
    plain = isinstance(node, Sequence) and (node.left, node.right) == ("(", ")")
    inner: tuple[Node, ...] | None = node.members if plain and isinstance(node, Sequence) else None
    if isinstance(node, Matrix) and (len(node.rows) == 1 or len(node.rows[0]) == 1):
        inner = tuple(entry for row in node.rows for entry in row)
    if inner is not None and len(inner) == len(listing.members):
        bare = [Expression(member.node, member.unit) if isinstance(member, Expression) else member for member in listing.members]
        pairs = zip(bare, (Expression(member) for member in inner), strict=True)
        return _all([_same(one, two, judge) if listing is gold else _same(two, one, judge) for one, two in pairs])
    return _same_region(gold, pred, judge) if any(isinstance(member, Relation) for member in listing.members) else False


# Other types ---------------------------------------------------------------------------------------------------------------


def _same_time(gold: Clock, pred: Clock) -> bool:
    def minutes(clock: Clock) -> tuple[int, int, int]:
        hour = clock.hour
        if clock.half == "p" and hour < 12:
            hour += 12
        elif clock.half == "a" and hour == 12:
            hour = 0
        return hour, clock.minute, clock.second

    if gold.half is None or pred.half is None:
        twelve = gold.hour % 12 == pred.hour % 12 and max(gold.hour, pred.hour) <= 12
        return minutes(gold) == minutes(pred) or (twelve and (gold.minute, gold.second) == (pred.minute, pred.second))
    return minutes(gold) == minutes(pred)


def _same_proportion(first: tuple[Node, ...], second: tuple[Node, ...], judge: Judge) -> bool | None:
    if len(first) != len(second) or any(isinstance(term, Number) and term.value == 0 for term in (*first, *second)):
        return first == second
    pairs = zip(first[1:], second[1:], strict=True)
    return _all([judge.expressions(Product((first[0], other)), Product((one, second[0]))) for one, other in pairs])


def _same_region(gold: Answer, pred: Answer, judge: Judge) -> bool | None:
    first, second = region_of(gold), region_of(pred)
    if first is None or second is None or not same_name(first.variable, second.variable):
        return False
    return _equal_regions(first, second, judge)


def _equal_regions(first: Region, second: Region, judge: Judge) -> bool | None:
    if len(first.pieces) != len(second.pieces):
        return False
    verdicts: list[bool | None] = []
    for one, other in zip(first.pieces, second.pieces, strict=True):
        if (one.low_closed, one.high_closed) != (other.low_closed, other.high_closed):
            return False
        verdicts += [judge.expressions(one.low, other.low), judge.expressions(one.high, other.high)]
    return _all(verdicts)
