"""The exact layer: a normal form for expressions, and equality decided on it without floating point.

An expression becomes a quotient of two polynomials. What the normal form cannot see through (nested radicals, logarithms of
sums, unknown functions) becomes an opaque atom; then a difference of zero still proves equality, but any other difference
proves nothing, and `equal` answers None.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from evalsuite.checker import polynomial as poly
from evalsuite.checker.angles import angle_parts, pythagoras, special_angle
from evalsuite.checker.functions import numeric_call
from evalsuite.checker.limits import MAX_EXPANDED_POWER, MAX_TRIAL_FACTOR, TooLargeError, UnreadableError
from evalsuite.checker.polynomial import Polynomial
from evalsuite.checker.ratio import (
    Ratio,
    by_imaginary,
    content_of,
    inverse,
    is_complex_number,
    leading_negative,
    over_one,
    plus,
    ratio_key,
    scaled,
    times,
)
from evalsuite.checker.roots import denested, factors, rational_root
from evalsuite.checker.tree import Call, Degrees, Name, Negative, Node, Number, Power, Product, Quotient, Sum

_HYPERBOLIC = frozenset({"sinh", "cosh", "tanh", "sech", "csch", "coth"})


_TRIGONOMETRY = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})


_MAX_CHOSEN = 8
_MAX_DEGREE = 1_000


@dataclass(slots=True)
class Normal:
    """Normal forms made side by side, so that both expressions share the meaning of every opaque atom."""

    opaque: dict[str, Ratio | None] = field(default_factory=dict)
    """Atoms that may satisfy relations unknown to the normal form; a root keeps its radicand."""

    def of(self, node: Node) -> Ratio:  # one case per kind
        match node:
            case Number(value):
                return over_one(poly.constant(poly.bounded(value)))
            case Name(name):
                return self.name(name)
            case Sum(terms):
                total = self.of(terms[0])
                for term in terms[1:]:
                    total = plus(total, self.of(term))
                return total
            case Negative(operand):
                return scaled(self.of(operand), Fraction(-1))
            case Product(factors):
                total = self.of(factors[0])
                for factor in factors[1:]:
                    total = times(total, self.of(factor))
                return total
            case Quotient(top, bottom):
                return times(self.of(top), inverse(self.of(bottom)))
            case Power(base, exponent):
                return self.power(self.of(base), self.of(exponent))
            case Degrees(operand):
                return times(self.of(operand), over_one({(("pi", Fraction(1)),): Fraction(1, 180)}))
            case Call(function, arguments):
                return self.call(function, [self.of(argument) for argument in arguments])
        raise UnreadableError("no number or expression")

    def name(self, name: str) -> Ratio:
        if name == "i":
            return over_one(poly.atom("I"))
        if name == "oo" or name.startswith("set:"):
            self.opaque.setdefault(name, None)
        return over_one(poly.atom(name))

    def atom(self, key: str, radicand: Ratio | None = None, exponent: Fraction | int = 1) -> Ratio:
        self.opaque[key] = radicand
        return over_one(poly.atom(key, exponent))

    # Powers ----------------------------------------------------------------------------------------------------------------

    def power(self, base: Ratio, exponent: Ratio) -> Ratio:
        value = exponent.number
        if value is None:
            return self.symbolic_power(base, exponent)
        if value.denominator == 1:
            return self.whole_power(base, value.numerator)
        return self.root(base, value)

    def whole_power(self, base: Ratio, exponent: int) -> Ratio:
        if exponent < 0:
            return self.whole_power(inverse(base), -exponent)
        number = base.number
        if number is not None:
            top, bottom = poly.power_of_int(number.numerator, exponent), poly.power_of_int(number.denominator, exponent)
            return over_one(poly.constant(top / bottom))
        if len(base.top) == 1 and len(base.bottom) == 1:
            return self.monomial_power(base, Fraction(exponent))
        if exponent > MAX_EXPANDED_POWER:
            raise TooLargeError(f"a sum to the power {exponent}")
        result, square = over_one(poly.constant(1)), base
        while exponent:
            if exponent & 1:
                result = times(result, square)
            exponent >>= 1
            if exponent:
                square = times(square, square)
        return self.expanded(result)

    def monomial_power(self, base: Ratio, exponent: Fraction) -> Ratio:
        """A power of one term with a positive coefficient or a whole exponent."""
        ((monomial, coefficient),) = base.top.items()
        ((under, divisor),) = base.bottom.items()
        raised, factor = poly.monomial_power(monomial, exponent)
        lowered, other = poly.monomial_power(under, -exponent)
        joined, last = poly.times_monomial(raised, lowered)
        value = coefficient / divisor
        result = over_one({joined: factor * other * last})
        if exponent.denominator == 1:
            top, bottom = poly.power_of_int(value.numerator, exponent.numerator), poly.power_of_int(value.denominator, exponent.numerator)
            return scaled(self.expanded(result), top / bottom)
        return times(self.expanded(result), rational_root(value, exponent))

    def root(self, base: Ratio, exponent: Fraction) -> Ratio:
        number = base.number
        if number is not None:
            return self.numeric_root(number, exponent)
        single = len(base.top) == 1 and len(base.bottom) == 1
        if single:
            ((monomial, coefficient),) = base.top.items()
            simple = all(name[0] == "#" or name in ("pi", "e") or power == 1 for name, power in monomial if name != "I")
            free = sum(name[0] != "#" and name not in ("pi", "e") for name, _ in monomial) <= 1
            if coefficient > 0 and simple and free and all(name != "I" for name, _ in monomial) and set(base.bottom) == {poly.ONE}:
                return self.monomial_power(base, exponent)
        flat = denested(base) if exponent == Fraction(1, 2) else None
        if flat is not None:
            return flat
        content = content_of(base)
        if content != 1:
            rest = scaled(base, 1 / content)
            return times(rational_root(content, exponent), self.opaque_root(rest, exponent))
        return self.opaque_root(base, exponent)

    def numeric_root(self, number: Fraction, exponent: Fraction) -> Ratio:
        if number == 0:
            if exponent < 0:
                raise UnreadableError("a division by zero")
            return over_one({})
        if number > 0:
            return rational_root(number, exponent)
        if exponent.denominator == 2:
            turns = over_one({poly.ONE: Fraction(1)})
            for _ in range(exponent.numerator % 4):
                turns = times(turns, over_one(poly.atom("I")))
            return times(turns, rational_root(-number, exponent))
        if exponent.denominator % 2:
            sign = Fraction(-1 if exponent.numerator % 2 else 1)
            return scaled(rational_root(-number, exponent), sign)
        return self.opaque_root(over_one(poly.constant(number)), exponent)

    def opaque_root(self, base: Ratio, exponent: Fraction) -> Ratio:
        whole = exponent.numerator // exponent.denominator
        rest = exponent - whole
        key = f"root({ratio_key(base)})"
        atom = self.atom(key, base, rest)
        return times(self.whole_power(base, whole), atom) if whole else atom

    def expanded(self, ratio: Ratio) -> Ratio:
        """The ratio with every root raised to a whole power replaced by its radicand."""
        for side in (ratio.top, ratio.bottom):
            for monomial in side:
                for name, exponent in monomial:
                    if name.startswith("root(") and not 0 < exponent < 1:
                        return self._expand(ratio, name)
        return ratio

    def _expand(self, ratio: Ratio, name: str) -> Ratio:
        radicand = self.opaque[name]
        assert radicand is not None
        sides: list[Ratio] = []
        for side in (ratio.top, ratio.bottom):
            total = over_one({})
            for monomial, coefficient in side.items():
                exponent = dict(monomial).get(name, Fraction(0))
                whole = exponent.numerator // exponent.denominator
                rest = {other: power for other, power in monomial if other != name} | (
                    {name: exponent - whole} if exponent != whole else {}
                )
                term = over_one({tuple(sorted(rest.items())): coefficient})
                total = plus(total, times(term, self.whole_power(radicand, whole)) if whole else term)
            sides.append(total)
        return self.expanded(times(sides[0], inverse(sides[1])))

    def symbolic_power(self, base: Ratio, exponent: Ratio) -> Ratio:
        """`base ** exponent` for an exponent with variables: a product of atoms `pow(atom;monomial)`."""
        if base == over_one(poly.atom("e")) and set(exponent.bottom) == {poly.ONE}:
            turning, growing = by_imaginary(exponent)
            if turning.top:
                return times(self.power(base, growing), self.turned(turning))
        number = base.number
        if set(exponent.bottom) != {poly.ONE} or (number is not None and number <= 0) or len(base.top) != 1 or len(base.bottom) != 1:
            return self.atom(f"power({ratio_key(base)};{ratio_key(exponent)})")
        ((monomial, coefficient),) = base.top.items()
        ((under, divisor),) = base.bottom.items()
        if coefficient / divisor < 0 or (len(monomial) + len(under) > 1 and number is None):
            return self.atom(f"power({ratio_key(base)};{ratio_key(exponent)})")
        value = coefficient / divisor
        bases: dict[str, Fraction] = {f"#{prime}": Fraction(times_) for prime, times_ in factors(value).items()}
        bases |= dict(monomial) | {name: -power for name, power in under}
        scale = exponent.bottom[poly.ONE]
        result = over_one(poly.constant(1))
        for name, power in bases.items():
            for inner, amount in exponent.top.items():
                portion = amount / scale * power
                if inner == poly.ONE:
                    part = rational_root(Fraction(int(name[1:])), portion) if name[0] == "#" else over_one(poly.atom(name, portion))
                else:
                    part = self.atom(f"pow({name};{inner})", None, portion)
                result = times(result, part)
        return result

    def turned(self, angle: Ratio) -> Ratio:
        """`e` to `i` times the angle."""
        return plus(self.trigonometric("cos", angle), times(over_one(poly.atom("I")), self.trigonometric("sin", angle)))

    # Functions -------------------------------------------------------------------------------------------------------------

    def call(self, function: str, arguments: list[Ratio]) -> Ratio:
        argument = arguments[0]
        if function == "sqrt":
            return self.nth_root(arguments)
        if function in ("log", "ln"):
            logarithm = self.logarithm(argument)
            return logarithm if len(arguments) == 1 else times(logarithm, inverse(self.logarithm(arguments[1])))
        elementary = {"exp": lambda one: self.power(over_one(poly.atom("e")), one), "cis": self.turned}
        if function in elementary:
            return elementary[function](argument)
        if function in _TRIGONOMETRY:
            return self.trigonometric(function, argument)
        if function in _HYPERBOLIC:
            return self.hyperbolic(function, argument)
        return self.other_call(function, arguments)

    def nth_root(self, arguments: list[Ratio]) -> Ratio:
        degree = arguments[1].number if len(arguments) > 1 else Fraction(2)
        if degree is None or degree.denominator != 1 or not 1 <= degree <= _MAX_DEGREE:
            return self.atom(f"nthroot({ratio_key(arguments[0])};{ratio_key(arguments[1])})")
        return self.power(arguments[0], over_one(poly.constant(1 / degree)))

    def other_call(self, function: str, arguments: list[Ratio]) -> Ratio:
        """A function with a value for some arguments only; else an opaque atom."""
        argument = arguments[0]
        if function == "abs" and set(argument.bottom) == {poly.ONE} and is_complex_number(argument):
            imaginary, real = by_imaginary(argument)
            return self.root(plus(times(real, real), times(imaginary, imaginary)), Fraction(1, 2))
        if function == "abs" and leading_negative(argument):
            arguments = [scaled(argument, Fraction(-1))]
        if function == "binomial":
            chosen = arguments[1].number
            if argument.number is None and chosen is not None and chosen.denominator == 1 and 0 <= chosen <= _MAX_CHOSEN:
                return self.chosen(argument, chosen.numerator)
        numbers = [one.number for one in arguments]
        if None not in numbers:
            value = numeric_call(function, [number for number in numbers if number is not None])
            if value is not None:
                return over_one(poly.constant(value))
        return self.atom(f"{function}({';'.join(ratio_key(one) for one in arguments)})")

    def hyperbolic(self, function: str, argument: Ratio) -> Ratio:
        up, down = (self.power(over_one(poly.atom("e")), one) for one in (argument, scaled(argument, Fraction(-1))))
        top, bottom = plus(up, scaled(down, Fraction(-1))), plus(up, down)
        if function in ("tanh", "coth"):
            return times(top, inverse(bottom)) if function == "tanh" else times(bottom, inverse(top))
        half = scaled(top if function in ("sinh", "csch") else bottom, Fraction(1, 2))
        return half if function in ("sinh", "cosh") else inverse(half)

    @staticmethod
    def chosen(number: Ratio, count: int) -> Ratio:
        """`number` choose `count`, as a polynomial."""
        result = over_one(poly.constant(1))
        for step in range(count):
            result = scaled(times(result, plus(number, over_one(poly.constant(-step)))), Fraction(1, step + 1))
        return result

    def logarithm(self, argument: Ratio) -> Ratio:
        if len(argument.top) != 1 or len(argument.bottom) != 1:
            return self.atom(f"log({ratio_key(argument)})")
        ((monomial, coefficient),) = argument.top.items()
        ((under, divisor),) = argument.bottom.items()
        value = coefficient / divisor
        powers = dict(monomial) | {name: -power for name, power in under}
        if value <= 0 or "I" in powers or sum(name[0] != "#" and name not in ("pi", "e") for name in powers) > 1:
            return self.atom(f"log({ratio_key(argument)})")
        total = over_one({})
        for prime, times_ in factors(value).items():
            total = plus(total, scaled(self.log_atom(f"#{prime}"), Fraction(times_)))
        for name, power in powers.items():
            if name[0] != "#" and name not in ("pi", "e") and power != 1 and power.denominator == 1:
                return self.atom(f"log({ratio_key(argument)})")
            one = over_one(poly.constant(1)) if name == "e" else self.log_atom(name)
            total = plus(total, scaled(one, power))
        return total

    def log_atom(self, name: str) -> Ratio:
        """The logarithm of one prime is independent of the others; of anything else it is opaque."""
        return over_one(poly.atom(f"ln {name}")) if name[0] == "#" else self.atom(f"log({name})")

    def trigonometric(self, function: str, argument: Ratio) -> Ratio:
        if function in ("tan", "cot", "sec", "csc"):
            sine, cosine = self.trigonometric("sin", argument), self.trigonometric("cos", argument)
            one = over_one(poly.constant(1))
            top, bottom = {"tan": (sine, cosine), "cot": (cosine, sine), "sec": (one, cosine), "csc": (one, sine)}[function]
            return times(top, inverse(bottom))
        exact = special_angle(function, argument)
        if exact is not None:
            return exact
        flip = leading_negative(argument)
        inner = scaled(argument, Fraction(-1)) if flip else argument
        parts = angle_parts(inner)
        if parts is None:
            value = self.atom(f"{function}({ratio_key(inner)})")
        else:
            sine, cosine = self.angle_sum(*parts)
            value = sine if function == "sin" else cosine
        return scaled(value, Fraction(-1)) if flip and function == "sin" else value

    def angle_sum(self, first: Ratio, second: Ratio) -> tuple[Ratio, Ratio]:
        """The sine and the cosine of a sum."""
        (a, b), (c, d) = ((self.trigonometric("sin", one), self.trigonometric("cos", one)) for one in (first, second))
        return plus(times(a, d), times(b, c)), plus(times(b, d), scaled(times(a, c), Fraction(-1)))

    # Equality --------------------------------------------------------------------------------------------------------------

    def equal(self, first: Ratio, second: Ratio) -> bool | None:
        """True or False where the normal form decides it; None where an opaque atom might hide a relation."""
        difference = self.difference(first, second)
        if not difference:
            return True
        return None if self.has_opaque(difference) else False

    def difference(self, first: Ratio, second: Ratio) -> Polynomial:
        left = poly.multiply(first.top, second.bottom)
        right = poly.multiply(second.top, first.bottom)
        whole = poly.add(left, right, -1)
        return pythagoras(self.expanded(over_one(whole)).top) if whole else whole

    def has_opaque(self, polynomial: Polynomial) -> bool:
        return any(name in self.opaque or (power.denominator != 1 and name[0] != "#") or _unsettled(name)
                   for monomial in polynomial for name, power in monomial)  # fmt: skip


def _unsettled(name: str) -> bool:
    """A radicand's factor too large to be known prime might share factors with another."""
    return name[0] == "#" and not poly.is_certain_prime(int(name[1:]), MAX_TRIAL_FACTOR)
