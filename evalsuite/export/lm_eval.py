"""The files that lm-eval's `--output_path --log_samples` leaves: one of results, and one line for each problem."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from evalsuite.ask import request_body
from evalsuite.export.run import Exported
from evalsuite.summary import score
from evalsuite.tasks import Problem
from redraft.records import Record, write_atomic

METRIC = "exact_match"


def write(run: Exported, directory: Path) -> list[Path]:
    """Write both files into `directory` and say where they are."""
    stamp = run.began.strftime("%Y-%m-%dT%H-%M-%S.%f")
    results, samples = directory / f"results_{stamp}.json", directory / f"samples_{run.config.task}_{stamp}.jsonl"
    write_atomic(results, json.dumps(_results(run), indent=2, ensure_ascii=False) + "\n")
    lines = [json.dumps(_sample(run, i, sample, grade), ensure_ascii=False) for i, (sample, grade) in enumerate(run.graded)]
    write_atomic(samples, "".join(line + "\n" for line in lines))
    return [results, samples]


def _results(run: Exported) -> dict[str, Any]:
    task, scores = run.config.task, [score(run.config, grade) for _, grade in run.graded]
    mean = sum(scores) / len(scores) if scores else 0.0
    variance = sum((s - mean) ** 2 for s in scores) / max(len(scores) - 1, 1)
    stderr = math.sqrt(variance / len(scores)) if scores else 0.0
    return {
        "results": {task: {"alias": task, f"{METRIC},none": mean, f"{METRIC}_stderr,none": stderr, **_texts(run)}},
        "group_subtasks": {task: []},
        "configs": {task: {"task": task, "output_type": "generate_until", "metadata": run.config.as_json()}},
        "versions": {task: run.config.task_fingerprint},
        "n-shot": {task: len(run.config.shots)},
        "higher_is_better": {task: {METRIC: True}},
        "n-samples": {task: {"original": run.summary["task"]["problems"], "effective": len(scores)}},
        "config": {"model": "local-chat-completions", "model_args": {"model": run.config.model}, "limit": None},
        "date": run.began.timestamp(),
        "model_name": run.config.model,
        "total_evaluation_time_seconds": str(run.summary["throughput"]["busy_s"]),
    }


def _texts(run: Exported) -> dict[str, float]:
    found = {name: value for name, value in run.summary.get("text", {}).items() if name != "settings"}
    return {f"{name},none": value["value"] for name, value in found.items()}


def _sample(run: Exported, position: int, sample: Record, grade: Record) -> dict[str, Any]:
    problem = Problem(sample["id"], sample["problem"], sample["gold"], response=sample["judged"])
    asked = request_body(run.config, problem)
    doc = {"id": sample["id"], "problem": sample["problem"], "answer": sample["gold"]}
    prompt = json.dumps(asked.pop("messages", sample["problem"]), ensure_ascii=False)
    return {
        "doc_id": position,
        "doc": doc,
        "target": sample["gold"],
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": asked}},
        "resps": [[response["content"] for response in sample["responses"]]],
        "filtered_resps": [grade["final"]["answer"] or ""],
        "filter": "none",
        "metrics": [METRIC],
        "doc_hash": _hash(json.dumps(doc, sort_keys=True, ensure_ascii=False)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(sample["gold"]),
        METRIC: score(run.config, grade),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
