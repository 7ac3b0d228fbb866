"""What the exact layer knows of sines and cosines: special angles, sums and multiples of angles, and the unit circle."""

from fractions import Fraction

from evalsuite.checker import polynomial as poly
from evalsuite.checker.polynomial import Polynomial
from evalsuite.checker.ratio import Ratio, over_one, scaled

_MAX_ANGLES = 3


_MAX_MULTIPLE = 8


def angle_parts(angle: Ratio) -> tuple[Ratio, Ratio] | None:
    """Two angles whose sum is the given one: its terms apart, or one multiple of a single term less."""
    if set(angle.bottom) != {poly.ONE} or not angle.top:
        return None
    terms = [(monomial, value / angle.bottom[poly.ONE]) for monomial, value in sorted(angle.top.items())]
    if len(terms) > _MAX_ANGLES:
        return None
    if len(terms) > 1:
        return over_one({terms[0][0]: terms[0][1]}), over_one(dict(terms[1:]))
    ((monomial, value),) = terms
    if monomial in (poly.ONE, (("pi", Fraction(1)),)) or not 1 < abs(value.numerator) <= _MAX_MULTIPLE:
        return None
    unit = Fraction(1 if value > 0 else -1, value.denominator)
    return over_one({monomial: unit}), over_one({monomial: value - unit})


def special_angle(function: str, argument: Ratio) -> Ratio | None:
    """sin or cos of a multiple of 15 degrees."""
    if not argument.top:
        return over_one(poly.constant(0 if function == "sin" else 1))
    if set(argument.top) != {(("pi", Fraction(1)),)} or set(argument.bottom) != {poly.ONE}:
        return None
    turns = argument.top[(("pi", Fraction(1)),)] / argument.bottom[poly.ONE] * 12
    if turns.denominator != 1:
        return None
    steps = turns.numerator % 24
    if function == "cos":
        steps = (steps + 6) % 24
    sign = 1
    if steps >= 12:
        steps, sign = steps - 12, -1
    steps = min(steps, 12 - steps)
    two: Polynomial = {(("#2", Fraction(1, 2)),): Fraction(1, 4)}
    six: Polynomial = {(("#2", Fraction(1, 2)), ("#3", Fraction(1, 2))): Fraction(1, 4)}
    table: list[Polynomial] = [
        {},
        poly.add(six, two, -1),
        poly.constant(Fraction(1, 2)),
        {(("#2", Fraction(1, 2)),): Fraction(1, 2)},
        {(("#3", Fraction(1, 2)),): Fraction(1, 2)},
        poly.add(six, two),
        poly.constant(1),
    ]
    return scaled(over_one(table[steps]), Fraction(sign))


def pythagoras(polynomial: Polynomial) -> Polynomial:
    """The polynomial with even powers of every sine replaced by those of its cosine."""
    for _ in range(40):
        found = next(
            (
                (monomial, name, power)
                for monomial in polynomial
                for name, power in monomial
                if name.startswith("sin(") and power >= 2 and power.denominator == 1
            ),
            None,
        )
        if found is None:
            return polynomial
        monomial, name, power = found
        rest = {other: exponent for other, exponent in monomial if other != name}
        if power > 2:
            rest[name] = power - 2
        coefficient = polynomial[monomial]
        left: Polynomial = {tuple(sorted(rest.items())): coefficient}
        cosine = poly.multiply(left, poly.atom("cos(" + name[4:], 2))
        polynomial = poly.add(poly.add(poly.add(polynomial, {monomial: coefficient}, -1), left), cosine, -1)
    return polynomial
