"""`redraft keys`: API keys in the key file. Running servers follow it within a second or two."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from redraft.errors import BadRequest
from server import config
from server.keys import store
from server.keys.key import Key, KeyLimits, Scope, digest, new_secret
from server.keys.store import KeyFile

app = typer.Typer(help="API keys.", no_args_is_help=True)

UNITS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}

File = Annotated[
    Path | None, typer.Option("--file", help="The key file.  [default: as the server's settings say, keys.sqlite in REDRAFT_HOME]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PerMinute = Annotated[int | None, typer.Option(min=1, help="At most so many requests a minute.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="At most so many tokens a minute, prompts and generated ones together.")]
Parallel = Annotated[int | None, typer.Option(min=1, help="At most so many loops and critiques at once.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model or adapter it may use; may be repeated.  [default: all]")]
Scopes = Annotated[list[Scope] | None, typer.Option("--scope", help="What it may do; may be repeated.  [default: infer]")]
Expires = Annotated[str | None, typer.Option(metavar="12h|30d|8w", help="It opens nothing any more after so long.")]


def key_file(named: Path | None) -> KeyFile:
    return KeyFile(named or config.load(None, {}).guard.keys_file or store.default_file())


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for your own eyes.")],
    scope: Scopes = None,
    model: Models = None,
    requests: PerMinute = None,
    tokens: Tokens = None,
    parallel: Parallel = None,
    expires: Expires = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    identity, secret = new_secret()
    now = time.time()
    until = None if expires is None else now + seconds_of(expires)
    limits = KeyLimits(requests, tokens, parallel)
    key = Key(identity, name, digest(secret), frozenset(scope or [Scope.INFER]), limits, frozenset(model or []), now, until)
    kept = key_file(file)
    kept.add(key)
    if as_json:
        print(json.dumps({**body_of(key), "key": secret}, ensure_ascii=False, indent=2))
        return
    print(secret)
    Console(stderr=True).print(
        f"{key.name}: {', '.join(sorted(key.scopes))}. This is shown once; {kept.path} keeps its hash.", highlight=False, soft_wrap=True
    )


@app.command("ls")
def show(file: File = None, as_json: AsJson = False) -> None:
    """List keys, revoked and expired ones too."""
    found = [body_of(key) for key in key_file(file).read()]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    table = Table("id", "name", "state", "scopes", "requests/min", "tokens/min", "loops", "models", "created", "expires", box=None)
    for key in found:
        table.add_row(*[_cell(key[column]) for column in COLUMNS])
    Console().print(table)


@app.command()
def revoke(identity: Annotated[str, typer.Argument(metavar="ID", help="As `redraft keys ls` shows it.")], file: File = None) -> None:
    """Shut a key off for good."""
    key = key_file(file).revoke(identity)
    print(f"{key.id} ({key.name}) is revoked")


COLUMNS = ("id", "name", "state", "scopes", "requests_per_minute", "tokens_per_minute", "parallel", "models", "created", "expires")


def body_of(key: Key) -> dict[str, Any]:
    """All that is known of a key but its hash."""
    fault = key.fault()
    return {
        "id": key.id,
        "name": key.name,
        "state": "active" if fault is None else "revoked" if key.revoked is not None else "expired",
        "scopes": sorted(key.scopes),
        "requests_per_minute": key.limits.requests,
        "tokens_per_minute": key.limits.tokens,
        "parallel": key.limits.parallel,
        "models": sorted(key.models) or None,
        "created": _day(key.created),
        "expires": _day(key.expires),
        "revoked": _day(key.revoked),
    }


def seconds_of(span: str) -> float:
    """`12h`, `30d`, `8w` in seconds. Raises BadRequest."""
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", span)
    if found is None:
        raise BadRequest(f"--expires {span!r}: write a number and h, d or w, such as 30d", param="expires")
    return int(found[1]) * UNITS[found[2]]


def _day(when: float | None) -> str | None:
    return None if when is None else datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
