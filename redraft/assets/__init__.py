"""The web's libraries from npm, by a lock with integrity hashes: where they lie and whether they are whole. Knows no page.

`python -m redraft.assets` puts them here, and a wheel carries them. Beside them lies `mathtext.js`, which the pages share.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from redraft import home
from redraft.home import Flaw

ROOM = Path(__file__).parent
DIST = ROOM / "dist"
"""What is taken from the packages: `katex/katex.min.css`, `preact/preact.mjs`, ..."""
LOCK = ROOM / "package-lock.json"
MATHTEXT = ROOM / "mathtext.js"
HOW = "python -m redraft.assets"
"""The command that brings them; it needs npm."""

FILES: dict[str, tuple[str, ...]] = {
    "dompurify": ("dist/purify.es.mjs",),
    "htm": ("dist/htm.module.js",),
    "katex": ("dist/katex.min.css", "dist/katex.min.js", "dist/fonts/*.woff2"),
    "preact": ("dist/preact.mjs",),
    "swagger-ui-dist": ("swagger-ui-bundle.js", "swagger-ui.css", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"),
    "uplot": ("dist/uPlot.esm.js", "dist/uPlot.min.css"),
}
"""What the pages use of each package; its licence comes along."""


def source() -> str:
    """What the files were made from: a hash over the lock and the choice of files."""
    chosen = json.dumps(FILES, sort_keys=True).encode()
    return f"package-lock.json and FILES, sha256 {hashlib.sha256(LOCK.read_bytes() + chosen).hexdigest()}"


def flaw(dist: Path = DIST) -> Flaw | None:
    """Why the libraries cannot be used; None when every file is there, whole, and from the present lock."""
    found = home.flaw(dist)
    if found is not None:
        return found
    made_from = json.loads((dist / home.SEAL).read_text(encoding="utf-8")).get("source")
    return None if made_from == source() else Flaw("they are not those of the present lock")
