"""Where the final answer of a reply is.

The last box wins, unless several stand side by side as a list. Without a box, the last explicit statement of the answer; without
one, the mathematics that ends the last sentence. A reply that commits to nothing has no answer. Every search is linear.
"""

import re
from typing import Final

from evalsuite.checker.limits import MAX_ANSWER_CHARS, MAX_REPLY_CHARS
from evalsuite.checker.reader import is_readable

_BOX: Final = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_GAP: Final = re.compile(
    r"(?:[\s,;$&.]|\\[,;:!()\[\] \\]|\\quad|\\qquad|\\text ?\{\s*,?\s*(?:and|or)\s*\}|\band\b|\bor\b|\*\*|[A-Za-z](?:_\{?[0-9]\}?)? ?=)*"
)
_AFTER_BOX: Final = re.compile(r"\s?\$?\s?(?:\\?%|percent\b|pct\b|percentage\b)")
_STATEMENT: Final = re.compile(
    r"(?:final answer|answer|solution|result|correct choice|correct option)\*{0,2}\s{0,3}"
    r"(?:is|are|:|=|would be|will be|must be)\s{0,3}:?\s{0,3}"
    r"|^\s{0,8}answer\s{0,3}:|\bI (?:choose|pick|select)(?: option)? (?=\(?[A-J]\b)",
    re.IGNORECASE | re.MULTILINE,
)
_REASON: Final = re.compile(r",? (?:because|since)\b")
_FINAL: Final = re.compile(r"final answer\*{0,2}\s{0,3}(?:is|:)\s{0,3}:?\s{0,3}(?:the final answer is\s{0,3}:?)?", re.IGNORECASE)
_DENIAL: Final = re.compile(r"\bnot\b[^\n]*[0-9]", re.IGNORECASE)
_HEADING: Final = re.compile(r"^[#*\s]{0,10}(?:final )?answer[*:\s]{0,6}$\n", re.IGNORECASE | re.MULTILINE)
_NO_ANSWER: Final = re.compile(
    r"\b(?:don't|do not|cannot|can't|unable to) (?:know|answer|determine|say|solve|tell)|\bnot sure\b|^n/a$", re.IGNORECASE
)
_HASHES: Final = re.compile(r"####[ \t]*([^\n]+)")
_SENTENCE_END: Final = re.compile(r"(?:(?<=[^0-9\s])\.|(?<=[0-9])\.(?![0-9]))(?=\s|$)|\n[ \t]{0,20}\n|<\||</|\bI hope it is correct")
_MATH: Final = re.compile(r"(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$((?:[^$\n\\]|\\.)+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_CUE: Final = re.compile(r"\b(?:therefore|thus|hence|so|is|are|equals|get|gives|have|be|find|solution|total|answer)\b|=", re.IGNORECASE)
_VALUE: Final = re.compile(r"[-+]?[$€£]?[0-9][0-9,]*(?:\.[0-9]+)?(?: [0-9]+/[0-9]+|/[0-9]+)?(?: ?(?:\\?%|°|[€£]|percent))?")
_TAIL: Final = re.compile(r"[^=]{0,60}?(?:\bis|\bare|\bequals|=) {0,3}(" + _VALUE.pattern + r")(?![0-9A-Za-z])")
_COMPOUND: Final = re.compile(r"\s{0,9}[0-9]{1,9} [A-Za-z]{1,12},?(?: (?:and )?[0-9]{1,9} [A-Za-z]{1,12}){1,3}[.\s]{0,9}")
_DIGIT: Final = re.compile(r"[0-9]")
_CODE: Final = re.compile(
    r"__|['\"]\)|[A-Za-z]\(['\"]|\b(?:import|lambda[^=\n]{0,20}:|def|return|eval|exec)\b|\.[A-Za-z_]+\(|;\s*[A-Za-z]{3}|\b(?!sin|cos|tan|sqrt|log|exp|min|max|gcd|lcm|abs|floor|ceil|frac)[A-Za-z_]{3,}\("
)
_LIMIT: Final = re.compile(
    r"\b(?:least|most|than|less|more|between|over|under|squared|cubed|factorial|plus|minus|times|divided|half|root|negative|twice)\b|\b(?:and|or)\s*$",
    re.IGNORECASE,
)
_PROSE: Final = re.compile(r"[A-Za-z]{3,}")
_BARE_LIMIT: Final = 160
_MAX_BOXES: Final = 60
_MAX_GAP: Final = 60
_MAX_TAIL: Final = 600


def extract(response: str) -> str | None:
    """The final answer of a reply, or the whole text when it is a bare answer; None where there is no answer."""
    text = response[-MAX_REPLY_CHARS:]
    thought = text.rfind("</think>")
    if thought >= 0 and text[thought + 8 :].strip():
        later = _extract(text[thought + 8 :])
        if later is not None:
            return later
    return _extract(text)


def _extract(text: str) -> str | None:
    boxed = _last_boxes(text)
    if boxed is not None:
        answer, end = boxed
        return _late_statement(text[end:]) or answer
    if "\\boxed" in text or "\\fbox" in text:
        return None
    opened = text.rfind("<answer>")
    closed = text.find("</answer>", opened)
    if 0 <= opened < closed:
        return _clean(text[opened + len("<answer>") : closed])
    hashes = _HASHES.findall(text)
    return _clean(hashes[-1]) if hashes else _stated(text) or _unmarked(text)


def _unmarked(text: str) -> str | None:
    """The answer of a text that has neither a box nor a statement: the text itself, or the value that it ends with."""
    if _CODE.search(text):
        return _clean(text) if len(text) <= MAX_ANSWER_CHARS else None
    promised = _STATEMENT.search(text) or text.lstrip().startswith("####")
    if not promised and _is_whole_answer(text):
        return _clean(text)
    denied = _DENIAL.search(text) and len(_VALUE.findall(text[-_MAX_TAIL:])) == 1 and len(text) < _BARE_LIMIT
    return None if denied or _NO_ANSWER.search(text[-_MAX_TAIL:]) else _last_mathematics(text)


def _is_whole_answer(text: str) -> bool:
    """Whether a bare text is to be compared as it stands, not searched for the value in it."""
    if not is_bare(text):
        return False
    if _COMPOUND.fullmatch(text):
        return True
    searchable = _prose(text) and _DIGIT.search(text) and not _LIMIT.search(text)
    return not searchable or is_readable(text)


def is_bare(text: str) -> bool:
    """Whether the text is an answer itself and not prose around one."""
    short = text.strip()
    if len(short) > _BARE_LIMIT * 4 or "\n\n" in short:
        return False
    prose = _prose(short)
    return (
        len(prose) <= 5
        and len(short) <= _BARE_LIMIT * (4 if len(prose) <= 1 else 1)
        and not _SENTENCE_INSIDE.search(short)
        and not _DENIAL.search(short)
    )


def _prose(text: str) -> list[str]:
    """The words of the text outside its mathematics."""
    return _PROSE.findall(_MARKUP.sub(" ", text))


_MARKUP: Final = re.compile(r"\\[A-Za-z]+(?: ?\{[^{}$]*\})?|\$[^$]*\$")
_SENTENCE_INSIDE: Final = re.compile(
    r"[A-Za-z]{3,}[.!?] +[A-Z][a-z]+ |\b(?:therefore|thus|hence|because|since|we|find that)\b", re.IGNORECASE
)


def _clean(text: str) -> str | None:
    cleaned = text.strip(" \t\r\n*`")
    whole = _MATH.fullmatch(cleaned)
    if whole:
        cleaned = _first_group(whole)
    return None if not cleaned or _NO_ANSWER.search(cleaned) else cleaned


# Boxes ---------------------------------------------------------------------------------------------------------------------


def _last_boxes(text: str) -> tuple[str, int] | None:
    """The content of the last box, or of the last run of boxes that stand side by side, and where it ends."""
    starts = [(match.start(), match.end()) for match in _BOX.finditer(text)][-_MAX_BOXES:]
    run: list[tuple[int, int, str]] = []
    for start, inside in reversed(starts):
        end, content = _group(text, inside)
        if not content.strip():
            continue
        if run and end >= run[0][1]:
            run[0] = (start, end, content)
        elif not run or _side_by_side(text, end, run[0][0]):
            run.insert(0, (start, end, content))
        else:
            break
    if not run:
        return None
    contents = [content.strip() for _, _, content in run]
    if len(set(contents)) == 1:
        contents = contents[:1]
    answer = ", ".join(contents)
    end = run[-1][1]
    if len(contents) == 1 and "%" not in answer and _AFTER_BOX.match(text, end):
        answer += "\\%"
    return answer, end


def _side_by_side(text: str, end: int, start: int) -> bool:
    return 0 <= start - end <= _MAX_GAP and _GAP.fullmatch(text, end, start) is not None


def _group(text: str, start: int) -> tuple[int, str]:
    """The end and the content of the braced group at `start`; an unclosed one ends with its line or its formula."""
    if not text.startswith("{", start):
        match = re.compile(r"[^\s$.,]+").match(text, start)
        return (match.end(), match.group()) if match else (start, "")
    depth, escaped = 0, False
    for place in range(start, min(len(text), start + MAX_ANSWER_CHARS)):
        char = text[place]
        if char in "{}" and not escaped:
            depth += 1 if char == "{" else -1
            if depth == 0:
                return place + 1, text[start + 1 : place]
        escaped = char == "\\" and not escaped
    stop = min((found for found in (text.find("$", start), text.find("\n", start)) if found >= 0), default=len(text))
    return stop, text[start + 1 : stop]


# Statements ----------------------------------------------------------------------------------------------------------------


def _late_statement(text: str) -> str | None:
    """A formal «final answer is» after the last box replaces it."""
    ends = [match.end() for match in _FINAL.finditer(text)]
    if not ends:
        return None
    sentence = _sentence(text, ends[-1])
    return _of_sentence(sentence) if _MATH.search(sentence) else None


def _stated(text: str) -> str | None:
    """The last explicit statement of the answer."""
    found = [*_STATEMENT.finditer(text), *_HEADING.finditer(text)]
    for match in sorted(found, key=lambda one: one.end(), reverse=True)[:_MAX_BOXES]:
        sentence = _sentence(text, match.end())
        if sentence.strip(" *:$\n"):
            return _of_sentence(sentence)
    return None


def _sentence(text: str, start: int) -> str:
    rest = text[start : start + 2_000]
    rest = rest.lstrip(" \t\r\n}")
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end and end.start() > 0 else rest
    line = sentence if sentence.startswith(("\\[", "\\(", "$")) else sentence.split("\n")[0]
    return line or sentence


def _of_sentence(sentence: str) -> str | None:
    """The answer in a sentence that states it: its formula with what follows, or all of it, or its last value."""
    sentence = _REASON.split(sentence, maxsplit=1)[0]
    found = list(_MATH.finditer(sentence))
    tail = _TAIL.match(sentence, found[-1].end()) if found else None
    if tail:
        return tail.group(1)
    if found and _PROSE.search(sentence[: found[0].start()]):
        return _first_group(found[-1])
    if found and len(found) == 1 and len(_PROSE.findall(sentence[found[0].end() :])) > 4:
        return _first_group(found[0])
    if _is_whole_answer(sentence):
        return _clean(sentence)
    values = _VALUE.findall(sentence)
    return str(values[-1]) if values else _clean(sentence)


def _first_group(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).strip()


def _last_mathematics(text: str) -> str | None:
    """The formula or the value that ends the last sentence that draws a conclusion."""
    body = re.split(r"<\|", text[-4_000:])[0]
    sentences = [part for part in _SENTENCE_END.split(body) if part and part.strip()]
    for sentence in reversed(sentences[-3:]):
        found = list(_MATH.finditer(sentence))
        if found:
            return _first_group(found[-1])
        if _CUE.search(sentence) or len(sentences) == 1:
            values = list(_VALUE.finditer(sentence))
            if values:
                return values[-1].group()
    return None
