"""Starts vLLM's own OpenAI server with our plugin on and defaults that fit the machine. Also what `redraft serve --help` shows last."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from importlib import metadata
from pathlib import Path

from redraft import home
from redraft.errors import BadRequest
from server import standin, unix
from server.config import ServeSettings, vllm_flags
from server.engine import machine

PLUGINS = ("redraft", "redraft_engine")
MAX_LORA_RANK = 64
ADAPTER_SLOTS = 8
"""Adapters that are held in memory at once, besides those of `--lora-modules`, where vLLM is not told."""
RESOLVERS = ("lora_filesystem_resolver", "lora_hf_hub_resolver")
DEFAULT_MODEL_TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
"""How the default model's tool calls are read. For any other model vLLM wants to be told, and so do we."""


def prepare_environment(settings: ServeSettings, *, cpu: bool) -> None:
    """Set what vLLM reads from the environment before it is imported. What the user has set stays."""
    named = [p for p in os.environ.get("VLLM_PLUGINS", "").split(",") if p]
    if any(resolver in named for resolver in RESOLVERS):
        raise BadRequest("VLLM_PLUGINS: vLLM's LoRA resolvers load what a request names, unchecked; use /adapters", param="VLLM_PLUGINS")
    os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "0"  # its routes are ours, behind admission
    os.environ["VLLM_PLUGINS"] = ",".join(dict.fromkeys([*PLUGINS, *named]))
    defaults = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    if cpu:
        defaults["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        defaults |= machine.environment()
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def command_line(settings: ServeSettings, model: Path | str, flags: list[str], *, cpu: bool) -> list[str]:
    """vLLM's arguments: our defaults first, so that whatever the user says after them wins."""
    line = ["--model", str(model), "--host", settings.host, "--port", str(settings.port)]
    line += [
        "--enable-prompt-tokens-details",
        "--enable-offline-docs",
        "--enable-lora",
        "--max-lora-rank",
        str(MAX_LORA_RANK),
        "--max-loras",
        "2",
    ]
    if cpu:
        line += ["--enforce-eager", "--dtype", machine.dtype(model)]
    if settings.model == "default":
        line += ["--served-model-name", home.DEFAULT_MODEL, *DEFAULT_MODEL_TOOLS]
    return [*line, *vllm_flags(settings.vllm), *flags]


def serve(settings: ServeSettings, model: Path | str, flags: list[str]) -> None:
    """Serve until stopped. `flags` are vLLM's own, as typed."""
    cpu = is_cpu(settings)
    prepare_environment(settings, cpu=cpu)
    if Path(model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="redraft serve", description="Flags of vLLM's server."))
    args = parser.parse_args(command_line(settings, model, flags, cpu=cpu))
    if args.model_tag is not None or args.model != str(model):
        raise BadRequest(f"MODEL comes first: redraft serve {args.model_tag or args.model} ...", param="model")
    if args.api_key:
        raise BadRequest("--api-key belongs before vLLM's flags: it guards the loop's routes too", param="api_key")
    _check_launcher(args)
    if args.enable_lora and args.max_cpu_loras is None:
        args.max_cpu_loras = max(args.max_loras, ADAPTER_SLOTS) + len(args.lora_modules or ())
    validate_parsed_serve_args(args)
    keys = [*settings.api_key, *filter(None, [os.environ.pop("VLLM_API_KEY", None)])]
    args.redraft = settings.model_copy(update={"api_key": keys})
    _listen(args)
    uvloop.run(run_server(args))


def _check_launcher(args: argparse.Namespace) -> None:
    """Raises BadRequest for what other launchers of vLLM do: this one is one server process, and would pass over it in silence."""
    flags = {
        "--api-server-count": args.api_server_count not in {None, 1},
        "--headless": args.headless,
        "--grpc": args.grpc,
        "--data-parallel-multi-port-external-lb": args.data_parallel_multi_port_external_lb,
    }
    for flag, given in flags.items():
        if given:
            raise BadRequest(
                f"{flag}: `redraft serve` is one server process with all its engines; for more of them see docs/scale.md",
                param=flag.removeprefix("--").replace("-", "_"),
            )


def _listen(args: argparse.Namespace) -> None:
    """At the supervisor's socket, which is open already, where there is one; or at a Unix socket, where none is in the way."""
    if args.uds:
        unix.clear(Path(args.uds))
    listening = standin.inherited()
    if listening is None:
        return
    if args.uds:
        raise BadRequest("--uds is to be written out, as `--uds PATH`: the supervisor has opened a port", param="uds")
    from vllm.entrypoints.launchers import launcher

    def opened(address: tuple[str, int], *, reuse_port: bool) -> socket.socket:
        return listening

    launcher.create_server_socket = opened


def is_cpu(settings: ServeSettings) -> bool:
    """True when vLLM runs on the CPU here: as the settings say, else as the installed build does."""
    if settings.device != "auto":
        return settings.device == "cpu"
    builds = {dist.metadata["Name"]: dist.version for dist in metadata.distributions(name="vllm")}
    return not builds or any("cpu" in version for version in builds.values())


def show_flags() -> None:
    """Print every flag of vLLM's server."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    sys.argv = ["redraft serve", "--help=all"]
    make_arg_parser(FlexibleArgumentParser(prog="redraft serve")).parse_args(["--help"])
