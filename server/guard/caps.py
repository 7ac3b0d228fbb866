"""What a request's body may ask for, whatever route reads it: vLLM's own routes and ours. Unknown fields are for the routes to judge.

Numbers are read as vLLM reads them, which takes `"64"` for 64.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from redraft.errors import BadRequest
from server.config import Limits
from server.guard.patterns import expanded

MAX_DEPTH = 64
"""Levels of a JSON schema."""
PATTERNS = frozenset({"pattern", "regex", "guided_regex", "whitespace_pattern"})
MEDIA = ("messages", "input", "inputs", "system", "query", "queries", "documents", "items", "data_1", "data_2", "text_1", "text_2")
"""Where chats, embeddings, scores and rankings may hold pictures."""
LINK = "_url"
"""How the fields that name a remote file end: `image_url`, `video_url`, `file_url`, ..."""


class Caps:
    """`template_kwargs` are the arguments of a chat template that clients may set."""

    def __init__(self, limits: Limits, template_kwargs: frozenset[str]) -> None:
        self._limits = limits
        self._template_kwargs = template_kwargs
        self._rules = self._table()

    def check(self, body: Mapping[str, Any]) -> None:
        """Raises BadRequest that names the field."""
        rules = self._rules
        for field, value in body.items():
            rule = rules.get(field)
            if rule is not None and value is not None:
                rule(field, value)

    def _table(self) -> dict[str, Callable[[str, Any], None]]:
        most = self._limits
        return (
            dict.fromkeys(("n", "best_of"), _at_most(most.n))
            | dict.fromkeys(("logprobs", "top_logprobs", "prompt_logprobs"), _at_most(most.logprobs, least=0))
            | dict.fromkeys(("logprob_token_ids", "stop_token_ids"), _so_many(most.stops))
            | dict.fromkeys(("stop", "stop_sequences", "bad_words"), self._stops)
            | dict.fromkeys(("guided_regex", "structured_outputs", "response_format", "text", "tools"), self._shape)
            | dict.fromkeys(("guided_json", "guided_grammar", "guided_choice", "structural_tag", "output_config"), self._shape)
            | dict.fromkeys(MEDIA, _media)
            | {"images": _images}
            | dict.fromkeys(("engine_url", "base_url", "api_base", "upstream"), _upstream)
            | dict.fromkeys(("kv_transfer_params", "ec_transfer_params"), _upstream)
            | {"chat_template": _template, "chat_template_kwargs": self._kwargs}
        )

    def _stops(self, field: str, value: Any) -> None:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list):
            return
        _so_many(self._limits.stops)(field, given)
        longest = max((len(stop) for stop in given if isinstance(stop, str)), default=0)
        if longest > self._limits.stop_chars:
            raise BadRequest(f"`{field}`: a string of {longest} characters, this server allows {self._limits.stop_chars}", param=field)

    def _kwargs(self, field: str, value: Any) -> None:
        for name in value if isinstance(value, dict) else ():
            if name not in self._template_kwargs:
                allowed = ", ".join(f"`{kwarg}`" for kwarg in sorted(self._template_kwargs)) or "none"
                raise BadRequest(f"`{field}.{name[:80]}` may not be set by a request; allowed: {allowed}", param=field)
            if not isinstance(value[name], bool | int | float | str | None):
                raise BadRequest(f"`{field}.{name[:80]}` must be true, false, a number or a text", param=field)

    def _shape(self, field: str, value: Any) -> None:
        """What the output must look like: schemas, grammars, choices, tools with their schemas."""
        size, patterns = 0, []
        for name, found in _nodes(field, value):
            size += _width(found)
            if size > self._limits.schema_chars:
                raise BadRequest(f"`{field}` has more than the {self._limits.schema_chars} characters that are allowed here", param=field)
            if name in PATTERNS and isinstance(found, str):
                patterns.append(found)
            if name == "server_url":
                _upstream(f"{field}.{name}", found)
        for pattern in patterns:
            self._pattern(field, pattern)

    def _pattern(self, field: str, text: str) -> None:
        most = self._limits.regex_chars
        size = len(text) if len(text) > most else expanded(text)
        if size > most:
            raise BadRequest(
                f"`{field}`: a regular expression of {size} characters with its repeats written out, this server allows {most}", param=field
            )


def _width(found: Any) -> int:
    """Characters of a text or of an object's names; what stands in it comes by itself."""
    if isinstance(found, str):
        return len(found)
    return sum(map(len, found)) + len(found) if isinstance(found, dict) else 1


def _nodes(field: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of everything below `value`; keys of `patternProperties` count as patterns. Raises BadRequest when it is too deep."""
    level = [(field, value)]
    for _ in range(MAX_DEPTH):
        below: list[tuple[str, Any]] = []
        for name, found in level:
            yield name, found
            if isinstance(found, str):
                if name in {"json", "guided_json"} and (parsed := _parsed(field, found)) is not None:
                    below.append((name, parsed))
            elif isinstance(found, dict):
                below += found.items()
                if name == "patternProperties":
                    below += [("pattern", key) for key in found]
            elif isinstance(found, list):
                below += [(name, item) for item in found]
        if not below:
            return
        level = below
    raise BadRequest(f"`{field}` is nested more than {MAX_DEPTH} levels deep", param=field)


def _parsed(field: str, text: str) -> dict[str, Any] | None:
    """A schema that was sent as a text. One that is not JSON is for the engine to refuse."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    except RecursionError as error:
        raise BadRequest(f"`{field}` is nested more than {MAX_DEPTH} levels deep", param=field) from error
    return found if isinstance(found, dict) else None


def _at_most(most: int, least: int | None = None) -> Callable[[str, Any], None]:
    def rule(field: str, value: Any) -> None:
        number = _number(value)
        if number is None:
            return
        if number > most:
            raise BadRequest(f"`{field}` is {number:g}, this server allows {most}", param=field)
        if least is not None and number < least:
            raise BadRequest(f"`{field}` is {number:g}, it must be at least {least}", param=field)

    return rule


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return float("inf") if isinstance(value, int) else None


def _so_many(most: int) -> Callable[[str, Any], None]:
    def rule(field: str, value: Any) -> None:
        if isinstance(value, list) and len(value) > most:
            raise BadRequest(f"`{field}` has {len(value)} entries, this server allows {most}", param=field)

    return rule


def _template(field: str, value: Any) -> None:
    raise BadRequest(f"`{field}` may not be set by a request: a template is a program that would run on this server", param=field)


def _upstream(field: str, value: Any) -> None:
    raise BadRequest(f"`{field}` may not be set by a request: it names another server", param=field)


def _media(field: str, value: Any) -> None:
    """Conversations may hold media in themselves, never links that this server would have to follow."""
    entries = [(f"{field}.{index}", said) for index, said in enumerate(value)] if isinstance(value, list) else [(field, value)]
    for place, said in entries:
        link = _link_in(said) if isinstance(said, dict | list) else None
        if link is not None:
            _refuse_link(f"{place}.content" if isinstance(said, dict) and "content" in said else place, link)


def _images(field: str, value: Any) -> None:
    """Embeddings of pictures take them without a name around each."""
    for index, image in enumerate(value if isinstance(value, list) else ()):
        if _leads_away(image):
            _refuse_link(f"{field}.{index}", "an image")


def _refuse_link(place: str, link: str) -> NoReturn:
    raise BadRequest(f"`{place}`: `{link[:80]}` is a link; send the file itself as a `data:` URL", param=place)


def _link_in(said: Any) -> str | None:
    """The name of a field below `said` that links to somewhere."""
    open_ones = [said]
    while open_ones:
        found = open_ones.pop()
        if isinstance(found, dict):
            for name, inner in found.items():
                url = inner.get("url") if isinstance(inner, dict) else inner
                if (name.endswith(LINK) or (name == "source" and isinstance(inner, dict))) and _leads_away(url):
                    return str(name)
        inside = found.values() if isinstance(found, dict) else found
        open_ones += [inner for inner in inside if isinstance(inner, dict | list)]
    return None


def _leads_away(link: Any) -> bool:
    return isinstance(link, str) and not link.lstrip().lower().startswith("data:")
