"""The project's Markdown pages and the fenced blocks in them. Knows nothing of what the blocks say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w*)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """`line` is where its text begins on the page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The page's fenced blocks, of these languages or of all."""
    text = read(page)
    for found in FENCE.finditer(text):
        if not languages or found[1] in languages:
            line = text.count("\n", 0, found.start(2)) + 1
            yield Block(page.relative_to(ROOT).as_posix(), line, found[1], found[2])


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", read(page))
