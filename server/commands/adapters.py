"""`redraft adapters`: the adapters of a running server, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from server.commands import talk

app = typer.Typer(help="Adapters of a running server.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The adapter's name, an alias of its revisions.")]
Source = Annotated[str, typer.Argument(help="Its folder, on the server's machine: a path, or a name in one of the server's roots.")]
Canary = Annotated[float | None, typer.Option(min=0, max=100, help="Give it this share of the conversations, in per cent, instead of all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's answer as JSON.")]


def path_of(name: str) -> str:
    return f"/adapters/{quote(name, safe='')}"


def located(source: str) -> str:
    """A folder that is here is named in full: the server runs in another directory."""
    return str(Path(source).resolve()) if Path(source).is_dir() else source


@app.command("ls")
def show(server: talk.ServerUrl = talk.DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List adapters: what serves, what went wrong."""
    found = talk.call(server, "GET", "/adapters")
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    table = Table("name", "state", "revision", "canary", "previous", "in flight", "last attempt", box=None, padding=(0, 2, 0, 0))
    for adapter in found["data"]:
        table.add_row(*_row(adapter))
    Console().print(table)


def _row(adapter: dict[str, Any]) -> list[str]:
    canary, attempt = adapter["canary"], adapter["attempt"]
    flying = sum(revision["in_flight"] for revision in adapter["revisions"])
    share = f"{canary['revision']} {canary['percent']:g} %" if canary else ""
    tried = f"{attempt['state']}: {attempt['reason'] or attempt['source']}" if attempt else ""
    return [adapter["name"], adapter["state"], adapter["revision"] or "", share, adapter["previous"] or "", str(flying), tried]


@app.command()
def add(name: Name, source: Source, server: talk.ServerUrl = talk.DEFAULT_SERVER, canary: Canary = None, as_json: AsJson = False) -> None:
    """Load SOURCE as NAME. A name that serves already is swapped."""
    _said(talk.call(server, "POST", "/adapters", _body(name=name, source=located(source), canary=canary)), as_json)


@app.command()
def swap(name: Name, source: Source, server: talk.ServerUrl = talk.DEFAULT_SERVER, canary: Canary = None, as_json: AsJson = False) -> None:
    """Have NAME, which serves already, serve SOURCE; requests in flight finish on what they began with."""
    _said(talk.call(server, "PUT", path_of(name), _body(source=located(source), canary=canary)), as_json)


@app.command()
def rollback(name: Name, server: talk.ServerUrl = talk.DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Drop NAME's canary, or go back to its previous revision."""
    _said(talk.call(server, "PUT", path_of(name), {"rollback": True}), as_json)


@app.command()
def rm(name: Name, server: talk.ServerUrl = talk.DEFAULT_SERVER) -> None:
    """Take NAME away; requests in flight finish."""
    talk.call(server, "DELETE", path_of(name))
    print(f"{name} is taken away")


def _body(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _said(adapter: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(adapter, ensure_ascii=False, indent=2))
        return
    canary = adapter["canary"]
    share = f", canary {canary['revision']} for {canary['percent']:g} % of conversations" if canary else ""
    print(f"{adapter['name']} serves {adapter['revision']}{share}")
