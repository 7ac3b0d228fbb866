"""A run's folder for checkpoints: whose it is, and which checkpoint is whole. Knows the files of a checkpoint, not their content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from trainer.runs import claim

FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")
WEIGHTS = "*.safetensors"
"""An adapter's, or a model's in one file or several."""
OWNER = "run.json"


def claim_work(work: Path, run: str) -> None:
    """Make `work` this run's folder, or refuse if it is another run's."""
    claim(work / OWNER, run)


def last_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that is whole; one that a kill cut short is removed."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        there = all((checkpoint / name).is_file() for name in FILES) and any(checkpoint.glob(WEIGHTS))
        if there and _readable(checkpoint / "trainer_state.json"):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _readable(state: Path) -> bool:
    """The trainer writes its state last: if it is whole, so is the checkpoint."""
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return False
    return True
