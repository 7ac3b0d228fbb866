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

A row that does not fit is an error that names file, line and field. No row is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redraft import prompts, records
from redraft.records import Record
from redraft.types import Message
from trainer.config import Format, Method, Source
from trainer.errors import BadRow


@dataclass(frozen=True, slots=True)
class ChatForm:
    """How a format spells the turns of a chat."""

    role: str
    text: str
    roles: Mapping[str, str]
    """The format's names for our three roles."""


OPENAI = ChatForm("role", "content", {name: name for name in ("system", "user", "assistant")})
REPLY = ChatForm("role", "content", {"assistant": "assistant"})
SHAREGPT = ChatForm(
    "from",
    "value",
    {"system": "system", "human": "user", "user": "user"} | dict.fromkeys(("gpt", "chatgpt", "assistant", "model"), "assistant"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """One reply to learn. `where` is `file:line` of the row it came from."""

    prompt: tuple[Message, ...]
    completion: str
    where: str
    rejected: str | None = None
    """For preferences: the reply that `completion` is preferred to."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record and where it stands; its getters raise `BadRow`."""

    record: Record
    where: str

    def text(self, field: str) -> str:
        value = self._get(field)
        if not isinstance(value, str):
            raise self.bad(field, f"expected a text, found {type(value).__name__}")
        if not value.strip():
            raise self.bad(field, "expected a text, found an empty one")
        return value

    def optional(self, field: str) -> str:
        value = self.record.get(field)
        if value is not None and not isinstance(value, str):
            raise self.bad(field, f"expected a text or nothing, found {type(value).__name__}")
        return value or ""

    def list(self, field: str) -> list[Any]:
        value = self._get(field)
        if not isinstance(value, list) or not value:
            raise self.bad(field, f"expected a list that is not empty, found {type(value).__name__}")
        return value

    def bad(self, field: str, expected: str) -> BadRow:
        return BadRow(self.where, field, expected)

    def _get(self, field: str) -> Any:
        if field not in self.record:
            raise self.bad(field, f"is missing; the row has {', '.join(map(repr, self.record)) or 'no fields'}")
        return self.record[field]


def read(source: Source, method: Method) -> Iterator[Example]:
    """All examples of a file, in order. The format is settled by the first row and holds for all."""
    form = source.format
    count = 0
    for number, record in records.read(source.path):
        row = Row(record, f"{source.path}:{number}")
        if form is Format.AUTO:
            form = detect(row)
        if (form is Format.PREFERENCE) != (method is Method.DPO):
            raise BadRow(row.where, "format", f"{form} rows cannot be used for {method}; expected {_expected(method)}")
        yield from PARSERS[form](row)
        count += 1
    if not count:
        raise BadRow(str(source.path), "rows", "expected at least one row, found none")


def _expected(method: Method) -> str:
    return "preference rows (prompt, chosen, rejected)" if method is Method.DPO else "rows with one reply to learn"


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
    record = {**row.record, **published(row.record)}
    row = Row(record, row.where)
    conclusion = row.text("conclusion")
    if conclusion not in (prompts.RIGHT, prompts.WRONG):
        raise row.bad("conclusion", f"expected {prompts.RIGHT!r} or {prompts.WRONG!r}, found {conclusion!r}")
    critique = row.text("critique")
    if prompts.CONCLUSION in critique or prompts.END in critique:
        raise row.bad("critique", f"expected the judgement alone; {prompts.CONCLUSION!r} and {prompts.END!r} are added when it is rendered")
    chat = prompts.critique_messages(row.text("problem"), row.text("response"))
    yield Example(chat, prompts.critique_reply(critique, conclusion), row.where)


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
    chat = _chat(row, "conversations", SHAREGPT)
    yield from _turns(row, "conversations", (*_system(row), *chat))


def _alpaca(row: Row) -> Iterator[Example]:
    history: list[Message] = []
    for index, pair in enumerate(row.record.get("history") or ()):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise row.bad(f"history[{index}]", "expected a pair of texts: instruction and reply")
        history += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    given = row.optional("input")
    asked = row.text("instruction") + (f"\n\n{given}" if given else "")
    yield Example((*_system(row), *history, {"role": "user", "content": asked}), row.text("output"), row.where)


def _prompt_completion(row: Row) -> Iterator[Example]:
    yield Example(_prompt(row), _reply(row, "completion"), row.where)


def _preference(row: Row) -> Iterator[Example]:
    chosen, rejected = _reply(row, "chosen"), _reply(row, "rejected")
    if chosen == rejected:
        raise row.bad("rejected", "expected another reply than `chosen`; they are the same")
    yield Example(_prompt(row), chosen, row.where, rejected)


def _prompt(row: Row) -> tuple[Message, ...]:
    if isinstance(row.record.get("prompt"), list):
        chat = _chat(row, "prompt", OPENAI)
        if chat[-1]["role"] != "user":
            raise row.bad("prompt", "expected the last message to be the user's")
        return chat
    return ({"role": "user", "content": row.text("prompt")},)


def _reply(row: Row, field: str) -> str:
    if not isinstance(row.record.get(field), list):
        return row.text(field)
    chat = _chat(row, field, REPLY)
    if len(chat) != 1:
        raise row.bad(field, f"expected one assistant message, found {len(chat)}")
    return chat[0]["content"]


def _system(row: Row) -> tuple[Message, ...]:
    text = row.optional("system")
    return ({"role": "system", "content": text},) if text else ()


def _chat(row: Row, field: str, form: ChatForm) -> tuple[Message, ...]:
    chat: list[Message] = []
    for index, turn in enumerate(row.list(field)):
        place = f"{field}[{index}]"
        if not isinstance(turn, dict):
            raise row.bad(place, f"expected an object with `{form.role}` and `{form.text}`, found {type(turn).__name__}")
        role, text = turn.get(form.role), turn.get(form.text)
        if not isinstance(role, str) or role not in form.roles:
            raise row.bad(f"{place}.{form.role}", f"expected one of {', '.join(form.roles)}, found {role!r}")
        if not isinstance(text, str) or not text.strip():
            raise row.bad(f"{place}.{form.text}", f"expected a text, found {text!r}")
        chat.append({"role": form.roles[role], "content": text})
    return tuple(chat)


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
}
