"""A table with one row for each response, for notebooks and data frames. Needs pyarrow, which comes with `datasets`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from evalsuite.export.run import Exported
from redraft.errors import BadRequest


def write(run: Exported, directory: Path) -> list[Path]:
    """Write `samples.parquet` into `directory`."""
    try:
        arrow, arrow_parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadRequest("--format parquet needs `pip install pyarrow`", param="format") from error
    names = sorted({name for record in run.texts.values() for name in record["scores"][0]})
    rows = [
        {
            "task": run.config.task,
            "model": run.config.model,
            "strategy": str(run.config.strategy),
            "id": sample["id"],
            "position": position,
            "problem": sample["problem"],
            "gold": sample["gold"],
            "response": sample["responses"][position]["content"],
            "finish_reason": sample["responses"][position]["finish_reason"],
            "answer": mark["answer"],
            "outcome": mark["outcome"],
            "how": mark["how"],
            "reason": mark["reason"],
            "completion_tokens_of_sample": sample["completion_tokens"],
            "latency_s": sample["timing"]["latency_s"],
            "ttft_s": sample["timing"]["ttft_s"],
            "queue_s": sample["timing"].get("queue_s"),
            **{name: _score(run, sample["id"], position, name) for name in names},
        }
        for sample, mark, position in run.responses()
    ]
    directory.mkdir(parents=True, exist_ok=True)
    path, part = directory / "samples.parquet", directory / ".samples.parquet.part"
    arrow_parquet.write_table(arrow.Table.from_pylist(rows), part)
    part.replace(path)
    return [path]


def _score(run: Exported, problem: str, position: int, name: str) -> float | None:
    """A response's score by a text metric; BLEU is that of the single response."""
    if problem not in run.texts:
        return None
    score = run.texts[problem]["scores"][position].get(name)
    found: float | None = score["score"] if isinstance(score, dict) else score
    return found
