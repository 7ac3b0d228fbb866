"""The pages' files: a closed table from the path a file is served under to its bytes, read once. No path is made from a request.

Knows no HTTP beyond types and headers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from redraft import assets

ROOM = Path(__file__).parent
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PLAYGROUND, DOCS = "index.html", "docs.html"
HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
SHUT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
OWN = f"{SHUT}; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'"
POLICIES = {
    PLAYGROUND: f"{OWN}; require-trusted-types-for 'script'; trusted-types dompurify",
    DOCS: f"{OWN}; img-src 'self' data:".replace("img-src 'self'; ", ""),
}
"""What each page may load: from here only, and no inline script. `default-src 'none'` for all that is no page."""
MISSING = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Redraft</title>"
    "<h1>Redraft is serving</h1><p>This page needs web libraries that are not installed: {reason}.</p>"
    "<p>With npm on the machine, run <code>{how}</code> in the server's environment and start the server again. "
    "All routes work without them.</p>"
)


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    type: str
    policy: str = SHUT

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True)
class Pages:
    """The two pages, and every other file by its name below `/web/`. Without the libraries both pages say so, and that is all."""

    playground: File
    docs: File
    files: dict[str, File]

    @property
    def paths(self) -> frozenset[str]:
        """All paths of the playground, which are open to everybody: they hold nothing of this server."""
        return frozenset({"/", *(f"/web/{name}" for name in self.files)})


def load(dist: Path = assets.DIST) -> Pages:
    """The pages with the libraries in `dist`, as far as they are there."""
    flaw = assets.flaw(dist)
    if flaw is not None:
        text = MISSING.format(reason=escape(flaw.reason), how=escape(assets.HOW))
        page = File(text.encode(), TYPES[".html"])
        return Pages(page, page, {})
    ours = {path.name: path for path in (*ROOM.iterdir(), assets.MATHTEXT)}
    libraries = {f"lib/{path.relative_to(dist).as_posix()}": path for path in dist.rglob("*")}
    read = {name: _file(path) for name, path in (ours | libraries).items() if path.suffix in TYPES}
    return Pages(read.pop(PLAYGROUND), read.pop(DOCS), read)


def _file(path: Path) -> File:
    return File(path.read_bytes(), TYPES[path.suffix], POLICIES.get(path.name, SHUT))
