"""How a file spells what a format holds: the names of its columns, and of the turns of its chats. Knows no file and no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.config import Format


@dataclass(frozen=True, slots=True)
class ChatForm:
    """How a format spells the turns of a chat."""

    role: str
    text: str
    roles: Mapping[str, str]
    """The format's names for our three roles."""

    def only(self, role: str) -> ChatForm:
        """The same with one role allowed."""
        return ChatForm(self.role, self.text, {name: ours for name, ours in self.roles.items() if ours == role})


OPENAI = ChatForm("role", "content", {name: name for name in ("system", "user", "assistant")})
SHAREGPT = ChatForm(
    "from",
    "value",
    {"system": "system", "human": "user", "user": "user"} | dict.fromkeys(("gpt", "chatgpt", "assistant", "model"), "assistant"),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A format, and where a file departs from the format's own names."""

    format: Format = Format.AUTO
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """The format's field -> the file's column; None: the file has no such column, whatever it is called."""
    turns: ChatForm | None = None
    """How turns are spelled, where not as the format does."""
