"""Rows of data files become examples: a chat, and the reply to learn. Knows the formats and no tokenizer.

| format              | fields of a row                                                                                  |
|---------------------|--------------------------------------------------------------------------------------------------|
| `cft`               | `problem`, `response`, `critique`, `conclusion` (`right` or `wrong`); or the published CFT rows   |
| `solution`          | `problem`, `solution`                                                                             |
| `messages`          | `messages`: OpenAI chat messages; every assistant turn is learnt                                  |
| `sharegpt`          | `conversations`: `{from, value}` turns, `system` beside them if any; every assistant turn is learnt |
| `alpaca`            | `instruction`, `output`, and optionally `input`, `system`, `history`                              |
| `prompt_completion` | `prompt` and `completion`, each a text or messages                                                |
| `preference`        | `prompt`, `chosen`, `rejected`, each a text or messages                                           |
| `problem`           | `problem`, and what the graders read (`gold`): for `rft`, where replies are sampled               |

A row that does not fit is an error that names file, line and field. No row is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from redraft import prompts
from redraft.records import Record
from redraft.types import Message
from trainer.config import Format, Method, Source
from trainer.data import sources, tables
from trainer.data.layout import OPENAI, SHAREGPT, ChatForm, Layout
from trainer.errors import BadRow


@dataclass(frozen=True, slots=True)
class Example:
    """One reply to learn. `where` is the place of the row it came from, as `trainer.data.tables` names it."""

    prompt: tuple[Message, ...]
    completion: str
    where: str
    rejected: str | None = None
    """For preferences: the reply that `completion` is preferred to."""
    item: Record | None = None
    """For `rft`: the whole row, which graders read; its `completion` is empty."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record and where it stands; its getters raise `BadRow`. Fields are asked for by the format's names, errors have the file's."""

    record: Record
    where: str
    layout: Layout = field(default_factory=Layout)

    def text(self, field: str) -> str:
        value = self.get(field)
        if not isinstance(value, str):
            raise self.bad(field, f"expected a text, found {type(value).__name__}")
        if not value.strip():
            raise self.bad(field, "expected a text, found an empty one")
        return value

    def optional(self, field: str) -> str:
        value = self.value(field)
        if value is not None and not isinstance(value, str):
            raise self.bad(field, f"expected a text or nothing, found {type(value).__name__}")
        return value or ""

    def list(self, field: str) -> list[Any]:
        value = self.get(field)
        if not isinstance(value, list) or not value:
            raise self.bad(field, f"expected a list that is not empty, found {type(value).__name__}")
        return value

    def value(self, field: str) -> Any:
        """What stands under a field, or None."""
        column = self.layout.columns.get(field, field)
        return None if column is None else self.record.get(column)

    def get(self, field: str) -> Any:
        """What stands under a field, which must be there."""
        if (self.layout.columns.get(field, field) or field) not in self.record:
            raise self.bad(field, f"is missing; the row has {', '.join(map(repr, self.record)) or 'no fields'}")
        return self.value(field)

    def bad(self, field: str, expected: str) -> BadRow:
        """The error for a field, or for a place in it (`messages[0].role`)."""
        head = field.partition("[")[0]
        return BadRow(self.where, (self.layout.columns.get(head) or head) + field[len(head) :], expected)


def read(source: Source, method: Method) -> Iterator[Example]:
    """All examples of a source, in order. The format is settled by the first row and holds for all."""
    found = sources.resolve(source)
    form = found.layout.format
    count = 0
    for where, record in tables.read(found.place):
        row = Row(record, where, found.layout)
        if form is Format.AUTO:
            form = Format.PROBLEM if method is Method.RFT else detect(row)
        elif form is Format.ALPACA and method is Method.CFT and _published(row):
            form = Format.CFT
        if (form is Format.PREFERENCE) != (method is Method.DPO) or (form is Format.PROBLEM) != (method is Method.RFT):
            raise BadRow(row.where, "format", f"{form} rows cannot be used for {method}; expected {_expected(method)}")
        yield from PARSERS[form](row)
        count += 1
    if not count:
        raise BadRow(str(found.place), "rows", "expected at least one row, found none")


def _expected(method: Method) -> str:
    own = {Method.DPO: "preference rows (prompt, chosen, rejected)", Method.RFT: "problem rows (problem, and what the graders read)"}
    return own.get(method, "rows with one reply to learn")


def detect(row: Row) -> Format:
    """The format of a row, from the fields it has."""
    fields = row.record.keys()
    if fields & {"critique", "conclusion"} or published(row.record):
        return Format.CFT
    signs: tuple[tuple[set[str], Format], ...] = (
        ({"chosen", "rejected"}, Format.PREFERENCE),
        ({"problem", "solution"}, Format.SOLUTION),
        ({"messages"}, Format.MESSAGES),
        ({"conversations"}, Format.SHAREGPT),
        ({"instruction", "output"}, Format.ALPACA),
        ({"prompt", "completion"}, Format.PROMPT_COMPLETION),
    )
    for needed, form in signs:
        if needed <= fields:
            return form
    raise row.bad("format", f"no known format has the fields {', '.join(map(repr, fields)) or '(none)'}; name one with `format:`")


def _cft(row: Row) -> Iterator[Example]:
    row = Row({**row.record, **_published(row)}, row.where)
    conclusion = row.text("conclusion")
    if conclusion not in (prompts.RIGHT, prompts.WRONG):
        raise row.bad("conclusion", f"expected {prompts.RIGHT!r} or {prompts.WRONG!r}, found {conclusion!r}")
    critique = row.text("critique")
    if prompts.CONCLUSION in critique or prompts.END in critique:
        raise row.bad("critique", f"expected the judgement alone; {prompts.CONCLUSION!r} and {prompts.END!r} are added when it is rendered")
    chat = prompts.critique_messages(row.text("problem"), row.text("response"))
    yield Example(chat, prompts.critique_reply(critique, conclusion), row.where)


def _published(row: Row) -> dict[str, str]:
    return published({field: row.value(field) for field in ("input", "output")})


def published(record: Record) -> dict[str, str]:
    """The fields of a published CFT row (instruction, input, output) under our names, or nothing if the row is no such row."""
    given, output = record.get("input"), record.get("output")
    if not (isinstance(given, str) and isinstance(output, str)):
        return {}
    question, solution, response = given.partition("\n\nSolution:\n")
    judgement, mark, ending = output.rpartition(prompts.CONCLUSION)
    if not (question.startswith("Question:\n") and solution and mark):
        return {}
    return {
        "problem": question.removeprefix("Question:\n"),
        "response": response,
        "critique": judgement.strip().removeprefix(prompts.CRITIQUE_START.strip()).strip(),
        "conclusion": ending.replace(prompts.END, "").strip(" *.\n").lower(),
    }


def _solution(row: Row) -> Iterator[Example]:
    yield Example(prompts.solve_messages(row.text("problem")), row.text("solution"), row.where)


def _messages(row: Row) -> Iterator[Example]:
    yield from _turns(row, "messages", _chat(row, "messages", OPENAI))


def _sharegpt(row: Row) -> Iterator[Example]:
    chat = _chat(row, "conversations", row.layout.turns or SHAREGPT)
    told = () if chat[0]["role"] == "system" else _system(row)
    yield from _turns(row, "conversations", (*told, *chat))


def _alpaca(row: Row) -> Iterator[Example]:
    yield Example(_asked(row, "instruction"), row.text("output"), row.where)


def _prompt_completion(row: Row) -> Iterator[Example]:
    yield Example(_prompt(row), _reply(row, "completion"), row.where)


def _preference(row: Row) -> Iterator[Example]:
    chosen, rejected = _reply(row, "chosen"), _reply(row, "rejected")
    if chosen == rejected:
        raise row.bad("rejected", "expected another reply than `chosen`; they are the same")
    yield Example(_prompt(row), chosen, row.where, rejected)


def _problem(row: Row) -> Iterator[Example]:
    yield Example(prompts.solve_messages(row.text("problem")), "", row.where, item=row.record)


def _prompt(row: Row) -> tuple[Message, ...]:
    if not isinstance(row.value("prompt"), list):
        return _asked(row, "prompt")
    chat = _chat(row, "prompt", row.layout.turns or OPENAI)
    if chat[-1]["role"] != "user":
        raise row.bad("prompt", "expected the last message to be the user's")
    return chat if chat[0]["role"] == "system" else (*_system(row), *chat)


def _asked(row: Row, field: str) -> tuple[Message, ...]:
    """An instruction as a chat: the system message, earlier turns, and the input below it, where there are any."""
    history: list[Message] = []
    for index, pair in enumerate(row.value("history") or ()):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise row.bad(f"history[{index}]", "expected a pair of texts: instruction and reply")
        history += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    given = row.optional("input")
    return (*_system(row), *history, {"role": "user", "content": row.text(field) + (f"\n\n{given}" if given else "")})


def _reply(row: Row, field: str) -> str:
    value = row.value(field)
    if not isinstance(value, list | dict):
        return row.text(field)
    form = (row.layout.turns or OPENAI).only("assistant")
    if isinstance(value, dict):
        return _turn(row, field, value, form)["content"]
    chat = _chat(row, field, form)
    if len(chat) != 1:
        raise row.bad(field, f"expected one assistant message, found {len(chat)}")
    return chat[0]["content"]


def _system(row: Row) -> tuple[Message, ...]:
    text = row.optional("system")
    return ({"role": "system", "content": text},) if text else ()


def _chat(row: Row, field: str, form: ChatForm) -> tuple[Message, ...]:
    return tuple(_turn(row, f"{field}[{index}]", turn, form) for index, turn in enumerate(row.list(field)))


def _turn(row: Row, place: str, turn: object, form: ChatForm) -> Message:
    if not isinstance(turn, dict):
        raise row.bad(place, f"expected an object with `{form.role}` and `{form.text}`, found {type(turn).__name__}")
    role, text = turn.get(form.role), turn.get(form.text)
    if not isinstance(role, str) or role not in form.roles:
        raise row.bad(f"{place}.{form.role}", f"expected one of {', '.join(form.roles)}, found {role!r}")
    if not isinstance(text, str) or not text.strip():
        raise row.bad(f"{place}.{form.text}", f"expected a text, found {text!r}")
    return {"role": form.roles[role], "content": text}


def _turns(row: Row, field: str, chat: tuple[Message, ...]) -> Iterator[Example]:
    """One example for every assistant turn, with all that was said before as its prompt."""
    spoken = [message for message in chat if message["role"] != "system"]
    if [message["role"] for message in spoken] != ["user", "assistant"] * (len(spoken) // 2) or not spoken:
        raise row.bad(field, f"expected user and assistant in turn, ending with assistant; found {[m['role'] for m in chat]}")
    if any(message["role"] == "system" for message in chat[1:]):
        raise row.bad(field, "expected the system message first")
    for index, message in enumerate(chat):
        if message["role"] == "assistant":
            yield Example(chat[:index], message["content"], row.where)


PARSERS: dict[Format, Callable[[Row], Iterator[Example]]] = {
    Format.CFT: _cft,
    Format.SOLUTION: _solution,
    Format.MESSAGES: _messages,
    Format.ALPACA: _alpaca,
    Format.SHAREGPT: _sharegpt,
    Format.PROMPT_COMPLETION: _prompt_completion,
    Format.PREFERENCE: _preference,
    Format.PROBLEM: _problem,
}
