"""`trainer publish`: an adapter made complete for serving, and handed to a running server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.errors import BadConfig


def publish(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A folder that `trainer fit` made.")],
    to: Annotated[str | None, typer.Option(help="A running server that is to serve it; in use, it is swapped without a pause.")] = None,
    alias: Annotated[str | None, typer.Option(help="The name to serve it under. Default: the adapter's own.")] = None,
    evaluation: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A summary.json of evalsuite or of `trainer evaluate`.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Complete a copy in this folder, and leave ADAPTER as it is.")] = None,
    server_path: Annotated[str | None, typer.Option(help="The folder as the server sees it, where that is another path.")] = None,
    vllm: Annotated[bool, typer.Option("--vllm", help="The server is a plain vLLM with runtime LoRA updating.")] = False,
    api_key_env: Annotated[str, typer.Option(help="The environment variable that holds the server's key.")] = "REDRAFT_API_KEY",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until it has to be served.")] = 300.0,
) -> None:
    """Check an adapter, write evaluation results into its manifest and card, and hot-swap it into a server. Prints folder or revision."""
    for name, value in (("alias", alias), ("server-path", server_path), ("vllm", vllm)):
        if value and to is None:
            raise BadConfig(f"--{name} belongs to --to: name the server", param=name)
    from trainer.adapters.publish import publish as complete
    from trainer.adapters.serving import AdapterServer

    console = Console(stderr=True)
    done = complete(adapter, evaluation or (), out)
    name = alias or done.manifest["name"]
    content = done.manifest["content_sha256"][:12]
    console.print(f"{done.path} is sound: content {content}, {len(done.manifest['evaluation'])} evaluations", highlight=False)
    if to is None:
        typer.echo(str(done.path))
        return
    source = server_path or str(done.path.resolve())
    with AdapterServer(to, api_key=os.environ.get(api_key_env), timeout_s=timeout) as server:
        if vllm:
            server.load_into_vllm(name, source)
            typer.echo(name)
            return
        served = server.swap(name, source, lambda state: console.print(f"{name}: {state}", highlight=False))
    console.print(f"{to} serves {name} as {served.revision}", highlight=False)
    typer.echo(served.revision)
