"""The `publish` stage, on the disk: evaluation results go into a sound adapter's manifest and model card.

The weights are not touched, and neither is their content hash: a server that serves the adapter need not load it again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redraft import records
from trainer.adapters import adapter, artifact
from trainer.errors import BadRun
from trainer.origin import sha256

TOLD = ("task", "model", "adapter", "strategy", "accuracy", "critic", "base", "at_k", "config", "max_tokens", "versions")
"""What of a summary goes into the manifest."""
RATES = ("balanced_accuracy", "tpr", "tnr", "brier")


@dataclass(frozen=True, slots=True)
class Published:
    """An adapter that is complete for serving."""

    path: Path
    manifest: dict[str, Any]


def publish(folder: Path, evaluations: Sequence[Path], out: Path | None = None) -> Published:
    """Check the adapter, copy it to `out` if that is asked for, and add the summaries that it does not have yet."""
    manifest = adapter.check(folder)
    read = [_entry(path, manifest) for path in evaluations]
    target = folder if out is None else _copied(folder, out, manifest)
    manifest = adapter.manifest_of(target)
    held = list(manifest.get("evaluation") or ())
    known = {entry["sha256"] for entry in held}
    added = list({entry["sha256"]: entry for entry in read if entry["sha256"] not in known}.values())
    if added or "evaluation" not in manifest:
        manifest["evaluation"] = [*held, *added]
        records.write_atomic(target / artifact.MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    records.write_atomic(target / artifact.CARD, card(manifest))
    return Published(target, manifest)


def _entry(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What one summary says, under the hash of its file."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRun(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise BadRun(f"{path}: not JSON ({error.msg} in line {error.lineno})") from error
    if not isinstance(summary, dict) or not {"task", "strategy", "complete"} <= summary.keys():
        raise BadRun(f"{path}: expected a summary.json of evalsuite, or what `trainer evaluate` wrote")
    if not summary["complete"]:
        raise BadRun(f"{path}: its run is not complete; the same `evalsuite run` goes on with it")
    if summary.get("adapter") not in (None, manifest["content_sha256"]):
        raise BadRun(f"{path}: measures another adapter ({str(summary['adapter'])[:12]}, this one is {manifest['content_sha256'][:12]})")
    return {"sha256": sha256(path), **{name: summary[name] for name in TOLD if summary.get(name) is not None}}


def _copied(folder: Path, out: Path, manifest: Mapping[str, Any]) -> Path:
    """The folder `out` with this adapter in it; it appears whole, and another adapter is never overwritten."""
    if out.exists():
        there = adapter.check(out)
        if there["content_sha256"] != manifest["content_sha256"]:
            raise BadRun(
                f"{out}: holds another adapter ({there['content_sha256'][:12]}); adapters are never overwritten, choose another folder"
            )
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    for name in (artifact.WEIGHTS, artifact.CONFIG, artifact.MANIFEST, artifact.CARD):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, part / name)
    part.chmod(0o755)
    part.rename(out)
    return out


def card(manifest: Mapping[str, Any]) -> str:
    """The model card, with a table of what was measured."""
    rows = [_row(entry) for entry in manifest.get("evaluation") or ()]
    if not rows:
        return artifact.card(manifest)
    head = "| task | strategy | model | result |\n|---|---|---|---|\n"
    return (
        f"{artifact.card(manifest)}\n## Evaluation\n\n{head}"
        + "".join(rows)
        + "\nThe manifest has these results under the hashes of their files.\n"
    )


def _row(entry: Mapping[str, Any]) -> str:
    task = entry["task"]
    return f"| {task['name']} ({task['problems']}) | {entry['strategy']} | {entry.get('model', '')} | {_result(entry)} |\n"


def _result(entry: Mapping[str, Any]) -> str:
    said = []
    accuracy = entry.get("accuracy")
    if accuracy is not None:
        said.append(f"accuracy {accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})")
    for side, prefix in (("critic", ""), ("base", "base model: ")):
        rates = [f"{name.replace('_', ' ')} {value:.3f}" for name in RATES if (value := (entry.get(side) or {}).get(name)) is not None]
        if rates:
            said.append(prefix + ", ".join(rates))
    return "; ".join(said) or "nothing was graded"
