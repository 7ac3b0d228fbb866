"""The vocabulary of the tokenizer: which LaTeX commands, plain words and unicode signs mean what.

Tables only. A command that is in none of them makes an answer unreadable, which is never an error and never equality.
"""

from typing import Final


def words(text: str) -> frozenset[str]:
    """The words of a table that is written as one text."""
    return frozenset(text.split())


UNICODE: Final = {
    ord(sign): text
    for sign, text in {
        "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "•": "*", "÷": "/", "∕": "/", "⁄": "/",
        "√": "\\usqrt ", "∛": "\\usqrt[3]", "π": "\\pi ", "∞": "\\infty ", "±": "\\pm ", "∓": "\\mp ", "≤": "\\le ", "≥": "\\ge ",
        "⩽": "\\le ", "⩾": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "∼": "\\approx ", "∈": "\\in ", "∪": "\\cup ", "∩": "\\cap ",
        "∖": "\\setminus ", "∅": "\\emptyset ", "°": "\\degree ", "º": "\\degree ", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"',
        "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "ℕ": "\\mathbb{N}", "ℂ": "\\mathbb{C}", "⟨": "\\langle ",
        "⟩": "\\rangle ", "〈": "\\langle ", "〉": "\\rangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ",
        "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "ε": "\\epsilon ", "θ": "\\theta ", "λ": "\\lambda ",
        "μ": "\\mu ", "µ": "\\mu ", "ρ": "\\rho ", "σ": "\\sigma ", "τ": "\\tau ", "φ": "\\phi ", "ϕ": "\\phi ", "ω": "\\omega ",
        "Δ": "\\Delta ", "Ω": "\\Omega ", "½": "\\frac{1}{2}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}", "¼": "\\frac{1}{4}",
        "¾": "\\frac{3}{4}", "⅕": "\\frac{1}{5}", "⅖": "\\frac{2}{5}", "⅗": "\\frac{3}{5}", "⅘": "\\frac{4}{5}", "⅙": "\\frac{1}{6}",
        "⅚": "\\frac{5}{6}", "⅛": "\\frac{1}{8}", "⅜": "\\frac{3}{8}", "⅝": "\\frac{5}{8}", "⅞": "\\frac{7}{8}", "，": ",", "；": ";",
        "：": ":", "（": "(", "）": ")", "［": "[", "］": "]", "｛": "\\{", "｝": "\\}", "％": "%", "＝": "=", "＋": "+", "。": ".",
        "∶": ":", "…": "\\ldots ", "→": "\\to ", "∠": "\\angle ", "△": "\\triangle ", "∧": "\\land ", "∨": "\\lor ", "¢": "\\cent ",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2002": " ", "\u2003": " ", "\u200a": " ", "\u2061": "", "\u200b": "", "\ufeff": "",
    }.items()
}  # fmt: skip

SUPERSCRIPTS: Final = {ord(high): low for high, low in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True)}
SUBSCRIPTS: Final = {ord(low): digit for low, digit in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)}

SILENT: Final = words(
    "angle measuredangle left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle "
    "scriptstyle limits nolimits quad qquad thinspace medspace thickspace enspace hfill hspace mathstrut strut rm bf it tt sf cal "
    "boldmath large Large normalsize small nonumber notag centering"
)
SPACES: Final = frozenset(",;:!> ")

TEXT_COMMANDS: Final = words("text mbox hbox textbf textit textrm textnormal textsf texttt textup textmd emph fbox")
MATH_TEXT_COMMANDS: Final = words("mathrm mathbf mathit mathsf mathcal mathtt operatorname bm boldsymbol bold pmb mathbb mathfrak")
ACCENTS: Final = words(
    "overline bar hat widehat vec overrightarrow tilde widetilde underline overleftrightarrow dot ddot overset overarc wideparen"
)
FRACTIONS: Final = frozenset({"frac", "dfrac", "tfrac", "cfrac", "sfrac", "nicefrac"})
BINOMIALS: Final = frozenset({"binom", "dbinom", "tbinom"})

OPERATORS: Final = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "pm": "±", "mp": "∓", "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=",
    "ge": ">=", "geq": ">=", "geqslant": ">=", "geqq": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "approx": "≈", "simeq": "≈",
    "sim": "≈", "doteq": "≈", "cong": "≡", "equiv": "≡", "in": "∈", "cup": "∪", "cap": "∩", "setminus": "∖", "backslash": "∖", "ldots": "…",
    "cdots": "…", "dots": "…", "vdots": "…", "dotsc": "…", "dotsb": "…", "to": "→", "rightarrow": "→", "mid": "|", "vert": "|",
    "lvert": "|", "rvert": "|", "colon": ":", "slash": "/", "prime": "'", "Rightarrow": "⇒", "implies": "⇒", "bigcup": "∪", "eq": "=",
}  # fmt: skip
OPENERS: Final = {"langle": "<", "lfloor": "floor", "lceil": "ceil", "lbrace": "{", "lbrack": "[", "lparen": "(", "{": "{"}
CLOSERS: Final = {"rangle": ">", "rfloor": "floor", "rceil": "ceil", "rbrace": "}", "rbrack": "]", "rparen": ")", "}": "}"}

FUNCTIONS: Final = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "cosec": "csc", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "asin": "asin", "acos": "acos", "atan": "atan", "arccot": "acot", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
    "log": "log", "ln": "ln", "lg": "lg", "exp": "exp", "min": "min", "max": "max", "gcd": "gcd", "lcm": "lcm", "tg": "tan", "ctg": "cot",
    "abs": "abs", "floor": "floor", "ceil": "ceil", "arctg": "atan", "cis": "cis", "sech": "sech",
    "csch": "csch", "coth": "coth",
}  # fmt: skip
GREEK: Final = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau upsilon phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
)
CURRENCIES: Final = {"dollar": "$", "textdollar": "$", "euro": "€", "texteuro": "€", "pounds": "£"}
CONSTANT_WORDS: Final = {"pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo"}
SAME_LETTER: Final = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varrho": "rho"}

SHORT_WORDS: Final = words(
    "is the are for of to an no yes odd all not one two ten six red day won men any but per box out bus car cat dog hat cup pen egg few "
    "lot sum was who why how its can did has had let may now our set try use way mon tue wed thu fri sat sun jan feb mar apr jun jul aug "
    "sep oct nov dec if on we so she her him his"
)
"""Words of two and three letters that are not read as products of variables."""

MATRIX_ENVIRONMENTS: Final = words("pmatrix bmatrix Bmatrix matrix smallmatrix psmallmatrix bsmallmatrix array")
