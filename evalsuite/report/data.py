"""What the page shows of each run: its summary, the values behind the charts, and every problem for the drill-down. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite import store
from evalsuite.config import RunConfig, Strategy
from evalsuite.measures import is_right
from redraft.records import Record


@dataclass(frozen=True, slots=True)
class RunData:
    """One run as the page needs it."""

    name: str
    config: RunConfig
    summary: dict[str, Any]
    results: store.Results

    @property
    def timings(self) -> list[Record]:
        return [sample["timing"] for sample in self.results.samples.values()]


def load(directory: Path) -> RunData:
    """The run in a directory; it must have been summarised."""
    config = RunConfig.from_json(store.load_json(directory / store.CONFIG))
    summary = store.load_json(directory / store.SUMMARY)
    return RunData(directory.resolve().name, config, summary, store.load(directory))


def problems(run: RunData) -> list[dict[str, Any]]:
    """One entry for each problem of a run, failures included, in the order of their ids' first appearance."""
    graded = [_answered(run, sample, run.results.grades[key]) for key, sample in run.results.samples.items() if key in run.results.grades]
    failed = [
        {
            "id": f["id"],
            "problem": f["problem"],
            "gold": f["gold"],
            "outcome": "failed",
            "message": f"{f['cause']}: {f['message']}",
            "steps": [],
        }
        for f in run.results.failures.values()
    ]
    return graded + failed


def _answered(run: RunData, sample: Record, grade: Record) -> dict[str, Any]:
    final = grade["final"]
    return {
        "id": sample["id"],
        "problem": sample["problem"],
        "gold": sample["gold"],
        "answer": final["answer"],
        "outcome": final["outcome"],
        "reason": _reason(final),
        "tokens": sample["completion_tokens"],
        "latency_s": round(sample["timing"]["latency_s"], 3),
        "share": sum(map(is_right, grade["marks"])) / len(grade["marks"]) if grade["marks"] else None,
        "steps": _loop_steps(sample, grade) if run.config.strategy is Strategy.LOOP else _response_steps(sample, grade),
    }


def _reason(mark: Record) -> str | None:
    said = [mark[part] for part in ("how", "reason") if mark.get(part)]
    return ": ".join(said) or None


def _response_steps(sample: Record, grade: Record) -> list[dict[str, Any]]:
    judged = [] if sample["judged"] is None else [{"title": "the response to judge", "text": sample["judged"]}]
    return judged + [
        {
            "title": "critique" if judged else f"response {i + 1}",
            "text": response["content"],
            "reasoning": response["reasoning"],
            "finish": response["finish_reason"],
            "answer": mark["answer"],
            "outcome": mark["outcome"],
            "reason": _reason(mark),
        }
        for i, (response, mark) in enumerate(zip(sample["responses"], grade["marks"], strict=True))
    ]


def _loop_steps(sample: Record, grade: Record) -> list[dict[str, Any]]:
    marks = iter(grade["marks"])
    steps = []
    for step in (sample["detail"] or {}).get("transcript") or []:
        if step["stage"] == "critique":
            p = step.get("p_correct")
            said = step["verdict"] if p is None else f"{step['verdict']}, P(correct) {p:.2f}"
            steps.append({"title": f"critique of response {step['draft'] + 1}", "text": step["content"], "verdict": said})
            continue
        mark = next(marks)
        title = f"response {step['index'] + 1}"
        if step.get("parent") is not None:
            title += f", a revision of response {step['parent'] + 1}"
        steps.append(
            {
                "title": title,
                "text": step["content"],
                "finish": step["finish_reason"],
                "answer": mark["answer"],
                "outcome": mark["outcome"],
                "reason": _reason(mark),
            }
        )
    return steps
