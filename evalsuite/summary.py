"""From a run's records to its `summary.json`. Pure: reads results, writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evalsuite import machine, measures, stats, texts
from evalsuite.ask import drafts_of
from evalsuite.config import RunConfig, Strategy
from evalsuite.grade import Outcome
from evalsuite.labelled import problem_of
from evalsuite.slo import Slo
from evalsuite.store import SCHEMA, Results
from evalsuite.tasks import Task
from redraft.records import Record
from redraft.types import Verdict

MAX_FAILURE_SHARE = 0.05


def of_task(config: RunConfig, task: Task, results: Results, slo: Slo | None = None) -> dict[str, Any]:
    """The numbers of a run over the problems of `task`."""
    facts = {
        "name": task.name,
        "fingerprint": task.fingerprint,
        "source": task.source,
        "problems": len(task.problems),
        "bad_rows": len(task.bad_rows),
        "num_fewshot": len(task.shots),
        "fewshot_source": task.shots_source,
    }
    return summarise(config, facts, [config.key(problem) for problem in task.problems], results, slo)


def summarise(config: RunConfig, task: dict[str, Any], keys: Sequence[str], results: Results, slo: Slo | None = None) -> dict[str, Any]:
    """The numbers of a run over the samples with these keys."""
    samples = [results.samples[key] for key in keys if key in results.grades]
    grades = [results.grades[key] for key in keys if key in results.grades]
    failures = [results.failures[key] for key in keys if key in results.failures]
    return {
        "schema": SCHEMA,
        "task": task,
        "model": config.model,
        "strategy": str(config.strategy),
        "complete": len(grades) + len(failures) == len(keys),
        "accuracy": _accuracy(config, samples, grades),
        **_more(config, samples, grades),
        **_texts([results.texts[key] for key in keys if key in results.grades and key in results.texts]),
        "counts": _counts(samples, grades, failures, len(keys)),
        "failures": dict(Counter(failure["cause"] for failure in failures)),
        "failure_examples": {failure["cause"]: failure["message"] for failure in failures},
        "tokens": _tokens(samples),
        "latency_s": latency(samples),
        "throughput": _throughput(samples),
        "goodput": None if slo is None else slo.goodput([sample["timing"] for sample in samples], _busy_s(samples)),
        "config": config.as_json(),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
    }


def too_many_failures(summary: dict[str, Any]) -> bool:
    """Whether infrastructure failures are so many that the accuracy is not to be trusted."""
    counts = summary["counts"]
    return bool(counts["infrastructure_failures"] > MAX_FAILURE_SHARE * counts["problems"])


def score(config: RunConfig, grade: Record) -> float:
    """What one graded sample adds to the headline: the share of right responses for `direct`, else 1 or 0 for the final answer."""
    return measures.share_right(grade) if config.strategy is Strategy.DIRECT else float(measures.is_right(grade["final"]))


def has_gold(grade: Record) -> bool:
    """Whether there was something for the answer to be equal to."""
    return bool(grade["final"]["outcome"] != Outcome.NO_GOLD)


def _accuracy(config: RunConfig, samples: Sequence[Record], grades: Sequence[Record]) -> dict[str, Any] | None:
    """maj@n for `vote` and `adaptive`, the server's answer for `loop`, avg@n for `direct`, verdicts that match for `critique`."""
    if config.strategy is Strategy.CRITIQUE:
        return None if not grades else measures.critic(_judgements(samples, grades))["accuracy"]
    scores = [score(config, grade) for grade in grades if has_gold(grade)]
    if config.strategy is Strategy.DIRECT and (config.sampling.n or 1) > 1:
        interval = stats.clustered(scores, len(scores) * (config.sampling.n or 1))
    else:
        interval = stats.wilson(int(sum(scores)), len(scores))
    return None if interval is None else asdict(interval)


def _more(config: RunConfig, samples: Sequence[Record], grades: Sequence[Record]) -> dict[str, Any]:
    """What only some strategies have."""
    n = config.sampling.n or 1
    match config.strategy:
        case Strategy.CRITIQUE:
            return {"critic": measures.critic(_judgements(samples, grades))}
        case Strategy.LOOP:
            return {"loop": measures.loop(samples, grades)}
        case Strategy.ADAPTIVE:
            return {}
        case Strategy.DIRECT | Strategy.VOTE:
            judged = [grade for grade in grades if has_gold(grade)]
            return {"at_k": measures.at_k(judged, n)} if n > 1 and judged else {}


def _texts(records: Sequence[Record]) -> dict[str, Any]:
    return {"text": texts.summarise(records)} if records else {}


def _judgements(samples: Sequence[Record], grades: Sequence[Record]) -> list[measures.Judgement]:
    return [
        measures.Judgement(
            problem_of(sample["id"]),
            sample["gold"] == Verdict.CORRECT,
            Verdict(grade["final"]["answer"]),
            sample["detail"]["p_correct"],
        )
        for sample, grade in zip(samples, grades, strict=True)
    ]


def _counts(samples: Sequence[Record], grades: Sequence[Record], failures: Sequence[Record], problems: int) -> dict[str, int]:
    """Outcomes of problems, and of all responses how many met the token limit, whether or not there is an answer in them."""
    outcomes = Counter(grade["final"]["outcome"] for grade in grades)
    return {
        "problems": problems,
        "graded": len(grades),
        **{str(outcome): outcomes[outcome] for outcome in Outcome},
        "infrastructure_failures": len(failures),
        "responses": sum(len(grade["marks"]) for grade in grades),
        "truncated_responses": sum(_truncated(sample) for sample in samples),
    }


def _truncated(sample: Record) -> int:
    responses = drafts_of(sample["detail"]) or sample["responses"]
    return sum(response.get("finish_reason") == "length" for response in responses)


def _tokens(samples: Sequence[Record]) -> dict[str, float]:
    prompt = sum(sample["prompt_tokens"] for sample in samples)
    completion = sum(sample["completion_tokens"] for sample in samples)
    per_problem = round(completion / len(samples), 1) if samples else 0.0
    return {"prompt": prompt, "completion": completion, "total": prompt + completion, "completion_per_problem": per_problem}


def latency(samples: Sequence[Record]) -> dict[str, Any]:
    """End to end and queue for all; time to first token and gaps between tokens where they were seen.

    `queue` is what passed on this side: from when a problem was due to the send that was answered.
    """
    timings = [sample["timing"] for sample in samples]
    return {
        "e2e": stats.spread([timing["latency_s"] for timing in timings]),
        "queue": stats.spread([timing["queue_s"] for timing in timings if timing.get("queue_s") is not None]),
        "ttft": stats.spread([timing["ttft_s"] for timing in timings if timing.get("ttft_s") is not None]),
        "itl": stats.spread([gap / 1000 for timing in timings for gap in timing.get("gaps_ms") or ()]),
    }


def _busy_s(samples: Sequence[Record]) -> float:
    """The time during which at least one request was in flight, so that pauses between resumed sessions do not count."""
    return stats.covered([(t["started_at"], t["started_at"] + t["latency_s"]) for t in (sample["timing"] for sample in samples)])


def _throughput(samples: Sequence[Record]) -> dict[str, float]:
    busy_s = _busy_s(samples)
    completion = sum(sample["completion_tokens"] for sample in samples)
    per_second = 1 / busy_s if busy_s else 0.0
    return {
        "busy_s": round(busy_s, 3),
        "completion_tokens_per_s": round(completion * per_second, 2),
        "problems_per_s": round(len(samples) * per_second, 4),
    }
