"""Units of measurement, currencies and counted things: how each is spelled, and when two of them conflict.

It converts nothing: a centimetre is not a hundredth of a metre here, because a problem asks for one unit.
"""

import re
from typing import Final

from evalsuite.checker.signs import words

_SPELLINGS: Final = {
    "cm": "cm centimeter centimetre", "mm": "mm millimeter millimetre", "m": "m meter metre", "km": "km kilometer kilometre",
    "in": "in inch inche inches", "ft": "ft foot feet", "yd": "yd yard", "mi": "mi mile", "kg": "kg kilogram kilo", "g": "g gm gram gramme",
    "mg": "mg milligram", "lb": "lb lbs pound", "oz": "oz ounce", "ton": "ton tonne", "s": "s sec second", "min": "min mins minute",
    "h": "h hr hrs hour", "day": "day", "week": "week", "month": "month", "year": "year yr", "l": "l liter litre L",
    "ml": "ml milliliter mL", "gal": "gal gallon", "cup": "cup", "quart": "quart qt", "pint": "pint", "mph": "mph",
    "kmh": "kmh kph", "dollar": "dollar usd buck",
    "cent": "cent", "euro": "euro eur", "pound£": "gbp", "rupee": "rupee rs", "yen": "yen", "deg": "deg degree", "rad": "rad radian",
    "%": "percent percentage pct", "unit": "unit", "hz": "hz hertz Hz", "j": "joule", "n": "newton", "w": "watt", "v": "volt",
    "k": "kelvin", "pa": "pascal", "ev": "ev eV", "mol": "mol mole", "acre": "acre", "knot": "knot",
    "c": "celsius", "f": "fahrenheit", "kj": "kj kJ", "kw": "kw kW", "nm": "nm nanometer", "um": "micrometer micron", "au": "AU",
    "erg": "erg", "cal": "cal calorie", "atm": "atm", "ohm": "ohm", "rpm": "rpm", "kpa": "kPa", "mev": "MeV", "kev": "keV", "mhz": "MHz",
    "amp": "amp ampere", "pc": "parsec", "ly": "lightyear", "dyne": "dyne", "gauss": "gauss", "tesla": "tesla", "db": "dB",
}  # fmt: skip
_CANONICAL: Final = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_AMBIGUOUS: Final = frozenset({"m", "g", "s", "h", "l", "L", "in", "rs", "au"})
"""Spellings that stand for a variable or a word as often as for a unit; they are units only after a number, inside `\\text`."""

_CURRENCY: Final = {"$": "dollar", "€": "euro", "£": "pound£", "¥": "yen", "₹": "rupee"}
_FILLERS: Final = words(
    "a an the of in on total approximately about exactly altogether is are each per ways way only there which that was were such possible "
    "different distinct and to for with at his her its or"
)
_WORDS: Final = re.compile(r"[A-Za-z]+|\^ ?\{?[0-9]\}?|/|\*")


def canonical(word: str) -> str | None:
    """The unit that `word` spells, or None."""
    for form in (word, word.lower(), word.lower().removesuffix("s"), word.lower().removesuffix("es")):
        if form in _CANONICAL:
            return _CANONICAL[form]
    return None


def is_unit(word: str) -> bool:
    """Whether a plain word is certainly a unit rather than a product of variables."""
    return word not in _AMBIGUOUS and len(word) > 1 and canonical(word) is not None


def currency(sign: str) -> str:
    return _CURRENCY[sign]


def unit_of(text: str) -> tuple[str, ...]:
    """The canonical unit of trailing text such as `square inches`, `cm^2`, `miles per hour` or `children tickets`."""
    found = _WORDS.findall(text.replace("\\", " "))
    if any(pair in " ".join(found).lower() for pair in ("miles per hour", "mile per hour", "mi / h")):
        return ("mph",)
    parts: list[str] = []
    power, dividing = 1, False
    for word in found:
        low = word.lower()
        if word in ("/",) or low == "per":
            dividing = True
        elif low in ("square", "squared", "sq"):
            power = _raise(parts, 2) if low == "squared" else 2
        elif low in ("cubic", "cubed", "cu"):
            power = _raise(parts, 3) if low == "cubed" else 3
        elif word.startswith("^"):
            _raise(parts, int(word.strip("^ {}")))
        elif word != "*" and low not in _FILLERS:
            unit = canonical(word) or _singular(low)
            parts.append(("/" if dividing else "") + unit + (f"^{power}" if power > 1 else ""))
            power, dividing = 1, False
    return tuple(sorted(parts))


def _raise(parts: list[str], power: int) -> int:
    if parts and "^" not in parts[-1]:
        parts[-1] += f"^{power}" if power > 1 else ""
    return 1


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def conflict(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two units cannot describe one quantity. Text on one side only never conflicts."""
    if not first or not second or first == second:
        return False
    if set(first) <= set(second) or set(second) <= set(first):
        return _measures(first) != _measures(second) and bool(_measures(first)) and bool(_measures(second))
    generic = [unit for unit in (*first, *second) if unit.split("^")[0] == "unit"]
    if generic and len(first) == len(second) == 1:
        powers = {unit.partition("^")[2] or "1" for unit in (*first, *second)}
        return len(powers) > 1 and "unit" not in (first[0], second[0])
    return True


def _measures(unit: tuple[str, ...]) -> frozenset[str]:
    return frozenset(part for part in unit if part.strip("/").split("^")[0] in _SPELLINGS)
