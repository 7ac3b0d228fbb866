"""Inlines KaTeX, fonts included, so that a page can set mathematics without a network. Knows its file names only."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from redraft import assets
from redraft.errors import BadRequest

STYLE, SCRIPT = "katex.min.css", "katex.min.js"
_SOURCES = re.compile(r"src:url\((fonts/[\w.-]+\.woff2)\) format\(\"woff2\"\)[^;}]*")


@dataclass(frozen=True, slots=True)
class Katex:
    """Text for a page's style and script elements."""

    style: str = ""
    script: str = ""


def installed(dist: Path = assets.DIST) -> Katex | None:
    """KaTeX as the set-up brought it; None when it is not there or not whole."""
    return inlined(dist / "katex") if assets.flaw(dist) is None else None


def inlined(dist: Path) -> Katex:
    """KaTeX from its `dist` folder. Raises BadRequest naming the file that is not there."""
    for name in (STYLE, SCRIPT):
        if not (dist / name).is_file():
            raise BadRequest(f"{dist / name}: no such file; expected the dist folder of the katex package", param="katex")
    style = _SOURCES.sub(lambda found: _embedded(dist / found[1]), (dist / STYLE).read_text(encoding="utf-8"))
    script = (dist / SCRIPT).read_text(encoding="utf-8")
    return Katex(style, script.replace("</script", "<\\/script"))


def _embedded(font: Path) -> str:
    data = base64.b64encode(font.read_bytes()).decode()
    return f'src:url(data:font/woff2;base64,{data}) format("woff2")'
