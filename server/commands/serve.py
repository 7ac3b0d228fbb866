"""`redraft serve [MODEL] [any vLLM flag]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from redraft.errors import BadRequest
from server import config, unix
from server.config import ServeSettings, vllm_flags
from server.supervise import Patience, Supervisor

USAGE = "[MODEL] [OPTIONS] [any vLLM flag]"
OURS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def serve(
    context: typer.Context,
    config_file: Annotated[Path | None, typer.Option("--config", help="YAML file with these settings; vLLM's flags under `vllm:`.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [default: 8000]")] = None,
    engine_url: Annotated[str | None, typer.Option(help="Run over this OpenAI-compatible server instead of starting vLLM.")] = None,
    engine_api_key: Annotated[str | None, typer.Option(help="Key for --engine-url.")] = None,
    otlp_endpoint: Annotated[str | None, typer.Option(help="OTLP/HTTP collector for a trace of every loop.")] = None,
    adapters: Annotated[Path | None, typer.Option(help="File that declares the adapters to serve; they follow it.")] = None,
    critic: Annotated[str | None, typer.Option(help="Model or adapter that critiques by default.  [default: the solver]")] = None,
    api_key: Annotated[list[str] | None, typer.Option(help="Key that clients must send; may be repeated.")] = None,
    public_without_keys: Annotated[bool | None, typer.Option("--public-without-keys", help="Serve others without any API key.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or gpu.  [default: auto]")] = None,
    kv_cache_gib: Annotated[int | None, typer.Option(help="KV cache on CPU, GiB.  [default: 2]")] = None,
    drain_s: Annotated[float | None, typer.Option(help="Seconds that running loops get at a stop.  [default: 30]")] = None,
    supervise: Annotated[
        bool | None, typer.Option("--supervise/--no-supervise", help="Start the server again when its engine dies or hangs.  [default: on]")
    ] = None,
    show_help: Annotated[bool, typer.Option("--help", help="Show these options, then vLLM's, and exit.")] = False,
) -> None:
    """Serve MODEL, a Hugging Face id or a local path (none: the embedded SmolLM2-135M-Instruct): vLLM's OpenAI server, plus /solve,
    /critique and NAME:loop. MODEL comes before vLLM's flags.

    Each option can also come from the environment (REDRAFT_PORT=8001, REDRAFT_LOOP__DRAFTS=8) or the YAML file; a flag wins over the
    environment, the environment over the file. All other flags go to vLLM as they are (`--max-model-len 4096 --lora-modules cft=DIR`).
    """
    if show_help:
        _help(context)
    model, rest = split_model(context.args)
    flags = {
        "model": model,
        "host": host,
        "port": port,
        "engine_url": engine_url,
        "engine_api_key": engine_api_key,
        "otlp_endpoint": otlp_endpoint,
        "adapters": None if adapters is None else {"file": adapters},
        "critic": critic,
        "api_key": api_key or None,
        "guard": None if public_without_keys is None else {"public_without_keys": public_without_keys},
        "device": device,
        "kv_cache_gib": kv_cache_gib,
        "drain_s": drain_s,
        "supervise": supervise,
    }
    settings = config.load(config_file, flags)
    path = unix.path_of([*vllm_flags(settings.vllm), *rest])
    _check_bind(settings, path)
    if settings.engine_url is not None:
        _serve_remote(settings, rest)
    elif settings.supervise:
        _supervise(settings, path)
    else:
        _serve_engine(settings, rest)


def _check_bind(settings: ServeSettings, path: str | None) -> None:
    """Before anything is loaded. Raises BadRequest for a server that others could reach and that nobody has a key for."""
    from server.guard import gates, hosts

    own = filter(None, [os.environ.get("VLLM_API_KEY")])
    bind = settings.host if path is None else f"{hosts.SOCKET}{path}"
    gates.keyring(settings.model_copy(update={"api_key": [*settings.api_key, *own]}), bind=bind)


def split_model(rest: list[str]) -> tuple[str | None, list[str]]:
    """What is left of the command line after our options -> (MODEL or None, vLLM's flags)."""
    if rest and not rest[0].startswith("-"):
        return rest[0], rest[1:]
    return None, rest


def _help(context: typer.Context) -> None:
    print(context.get_help(), flush=True)
    from server.engine import entry

    print("\nvLLM's own flags, all accepted after these:\n", flush=True)
    entry.show_flags()
    raise typer.Exit


def _serve_remote(settings: ServeSettings, rest: list[str]) -> None:
    if rest:
        raise typer.BadParameter(f"{' '.join(rest)}: vLLM's flags belong to the engine at {settings.engine_url}, not here")
    from server import serving
    from server.app import standalone

    serving.serve(standalone(settings), host=settings.host, port=settings.port)


def kept_open(settings: ServeSettings, path: str | None) -> tuple[str, int] | None:
    """The address that a supervisor opens and keeps; None where each server opens its own: a Unix socket, or without a stand-in."""
    return (settings.host, settings.port) if settings.standin and path is None else None


def _supervise(settings: ServeSettings, path: str | None) -> None:
    """The same command again, unsupervised, as a child of this process."""
    command = [sys.executable, "-P", "-m", "server.cli", "serve", "--no-supervise", *sys.argv[2:]]
    patience = Patience(restarts=settings.restarts)
    try:
        supervisor = Supervisor(command, patience, _say, address=kept_open(settings, path))
    except OSError as error:
        raise BadRequest(f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}", param="port") from error
    raise typer.Exit(supervisor.run())


def _say(line: str) -> None:
    print(f"redraft: {line}", file=sys.stderr, flush=True)


def _serve_engine(settings: ServeSettings, rest: list[str]) -> None:
    from server.engine import entry

    model: Path | str = settings.model
    if settings.model == "default":
        from server.model import ensure_default_model

        console = Console(file=sys.stderr)
        model = ensure_default_model(lambda line: console.print(f"default model: {line}", highlight=False, soft_wrap=True))
    entry.serve(settings, model, rest)
