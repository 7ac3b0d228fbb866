"""lm-eval's `local-chat-completions` as a contender: in a virtual environment of its own, over a task made from our problems."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import CannotRun, Peer

LM_EVAL = Peer("lm-eval", "0.4.13", "lm_eval", (["lm_eval[api]==0.4.13"],))
"""Without torch."""
TASK = "redraft_efficiency"
REQUESTING = b"Requesting API"
"""What its progress bar says from the first request on to the last reply."""


@dataclass(frozen=True)
class Span:
    requests_s: float
    """From the first request to the last reply."""
    command_s: float
    """The whole command, its start-up and grading included."""


def write_task(folder: Path, problems: Path, tokens: int) -> None:
    """An lm-eval task over a JSONL file of problems, sampled as every contender samples."""
    task = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(problems)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{problem}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "until": ["<|no such text|>"],
            "max_gen_toks": tokens,
            "do_sample": False,
            "temperature": 0,
            "ignore_eos": True,
        },
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{TASK}.yaml").write_text(json.dumps(task), encoding="utf-8")


def run(command: Path, tasks: Path, *, url: str, model: str, system: str, concurrency: int) -> Span:
    arguments = f"model={model},base_url={url}/v1/chat/completions,num_concurrent={concurrency},max_retries=1,tokenized_requests=False"
    line = [str(command), "--model", "local-chat-completions", "--model_args", arguments, "--apply_chat_template"]
    line += ["--include_path", str(tasks), "--tasks", TASK, "--system_instruction", system]
    started = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tasks / "cache")}
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        seen: list[float] = []
        said = b""
        while piece := os.read(process.stderr.fileno(), 1 << 16):
            said = (said + piece)[-20_000:]
            if REQUESTING in piece:
                seen.append(time.perf_counter())
    if process.returncode or len(seen) < 2:
        raise CannotRun(f"lm_eval ended with code {process.returncode}: {said.decode(errors='replace').strip()[-1500:]}")
    return Span(seen[-1] - seen[0], time.perf_counter() - started)
