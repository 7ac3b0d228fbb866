"""A log in the JSON form that Inspect's viewer reads: one sample for each response, responses to one problem being its epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalsuite.ask import chat_messages
from evalsuite.export.run import Exported
from evalsuite.measures import is_right
from redraft.records import Record, write_atomic

VERSION = 2
SCORER = "evalsuite"
_STOPS = {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls", "content_filter": "content_filter"}


def write(run: Exported, directory: Path) -> list[Path]:
    """Write the log into `directory` and say where it is."""
    path = directory / f"{run.began.strftime('%Y-%m-%dT%H-%M-%S+00-00')}_{run.config.task}_{run.config.identity[:8]}.json"
    write_atomic(path, json.dumps(_log(run), ensure_ascii=False) + "\n")
    return [path]


def _log(run: Exported) -> dict[str, Any]:
    n = max((position + 1 for _, _, position in run.responses()), default=1)
    return {
        "version": VERSION,
        "status": "success" if run.summary["complete"] else "error",
        "eval": {
            "eval_id": run.config.identity,
            "run_id": run.config.identity,
            "created": run.began.isoformat(),
            "task": run.config.task,
            "task_id": run.config.task_fingerprint,
            "task_version": 0,
            "dataset": {"name": run.config.task, "location": run.summary["task"]["source"], "samples": run.summary["task"]["problems"]},
            "model": f"openai-api/{run.config.model}",
            "config": {"epochs": n},
            "packages": run.summary["versions"],
            "metadata": run.config.as_json(),
        },
        "plan": {"name": "plan", "steps": [{"solver": str(run.config.strategy), "params": {}}], "config": _generate_config(run)},
        "results": _results(run),
        "stats": {
            "started_at": run.began.isoformat(),
            "completed_at": run.ended.isoformat(),
            "model_usage": {run.config.model: _usage(run.summary["tokens"])},
        },
        "samples": [_sample(run, sample, mark, position) for sample, mark, position in run.responses()],
    }


def _generate_config(run: Exported) -> dict[str, Any]:
    sampling = run.config.sampling
    found = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "seed": sampling.seed}
    return {name: value for name, value in found.items() if value is not None}


def _results(run: Exported) -> dict[str, Any]:
    accuracy = run.summary["accuracy"]
    metrics = {} if accuracy is None else {"accuracy": {"name": "accuracy", "value": accuracy["value"]}}
    return {
        "total_samples": run.summary["counts"]["problems"],
        "completed_samples": run.summary["counts"]["graded"],
        "scores": [{"name": SCORER, "scorer": SCORER, "params": {}, "metrics": metrics}],
    }


def _sample(run: Exported, sample: Record, mark: Record, position: int) -> dict[str, Any]:
    response = sample["responses"][position]
    messages = chat_messages(run.config, sample["problem"])
    said = {"role": "assistant", "content": response["content"], "source": "generate", "model": run.config.model}
    return {
        "id": sample["id"],
        "epoch": position + 1,
        "input": sample["problem"],
        "target": sample["gold"],
        "messages": [*messages, said],
        "output": {
            "model": run.config.model,
            "choices": [{"message": said, "stop_reason": _STOPS.get(response["finish_reason"], "unknown")}],
            "time": sample["timing"]["latency_s"],
        },
        "scores": {SCORER: {"value": "C" if is_right(mark) else "I", "answer": mark["answer"], "explanation": mark["reason"]}},
        "metadata": {"outcome": mark["outcome"], "how": mark["how"]},
    }


def _usage(tokens: dict[str, Any]) -> dict[str, int]:
    return {"input_tokens": int(tokens["prompt"]), "output_tokens": int(tokens["completion"]), "total_tokens": int(tokens["total"])}
