"""BLEU and ROUGE of responses against references. Knows texts and numbers, no files; imports the packages only when asked to score.

What is kept of a response is enough for corpus BLEU over any selection of responses: n-gram matches and totals, and both lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from evalsuite import stats
from evalsuite.stats import Interval
from redraft.errors import BadRequest
from redraft.records import Record

PACKAGES = {"bleu": "sacrebleu", "rouge": "rouge-score"}
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ORDERS = 4
SETTINGS = {"bleu": "case:mixed|eff:no|tok:13a|smooth:exp", "rouge": "f-measure, no stemmer, best reference"}

Scores = Mapping[str, Any]
"""Of one response: `bleu` with its statistics, and the F-measure under the name of each kind of ROUGE."""


def parse(text: str) -> tuple[str, ...]:
    """The metrics of `--metric bleu,rouge`. Raises BadRequest for an unknown one, or one whose package is not installed."""
    names = tuple(sorted({part.strip() for part in text.split(",")}))
    unknown = [name for name in names if name not in PACKAGES]
    if unknown:
        raise BadRequest(f"--metric: expected {' or '.join(PACKAGES)}, with a comma between them, found {unknown[0]!r}", param="metric")
    for name in names:
        installed(name)
    return names


def installed(name: str) -> str:
    """The version of a metric's package."""
    try:
        return version(PACKAGES[name])
    except PackageNotFoundError as error:
        raise BadRequest(f"--metric {name} needs `pip install {PACKAGES[name]}`", param="metric") from error


def settings(metrics: Sequence[str]) -> dict[str, str]:
    """How each metric is computed, and by which version of what."""
    return {name: f"{SETTINGS[name]}|{PACKAGES[name]} {installed(name)}" for name in metrics}


def scorer(metrics: Sequence[str]) -> Callable[[str, Sequence[str]], Scores]:
    """A function from a response and its references to its scores."""
    parts = [{"bleu": _bleu, "rouge": _rouge}[name]() for name in metrics]

    def score(response: str, references: Sequence[str]) -> Scores:
        return {name: value for part in parts for name, value in part(response, references).items()}

    return score


def _bleu() -> Callable[[str, Sequence[str]], Scores]:
    from sacrebleu.metrics.bleu import BLEU

    # A single response has few long n-grams: its own score leaves out orders that it cannot have. The corpus score does not.
    bleu = BLEU(effective_order=True)

    def score(response: str, references: Sequence[str]) -> Scores:
        found = bleu.sentence_score(response, list(references))
        return {
            "bleu": {
                "score": found.score,
                "counts": list(found.counts),
                "totals": list(found.totals),
                "sys_len": found.sys_len,
                "ref_len": found.ref_len,
            }
        }

    return score


def _rouge() -> Callable[[str, Sequence[str]], Scores]:
    rouge = import_module("rouge_score.rouge_scorer").RougeScorer(list(ROUGE), use_stemmer=False)

    def score(response: str, references: Sequence[str]) -> Scores:
        return {kind: float(found.fmeasure) for kind, found in rouge.score_multi(list(references), response).items()}

    return score


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Each metric over all problems, with a bootstrap interval by problem; BLEU is a corpus's, from 0 to 100, ROUGE a mean from 0 to 1."""
    values = {
        name: asdict(stats.bootstrap([_statistics(record, name) for record in records], _measure(name))) for name in names_of(records)
    }
    return {**values, "settings": records[0]["settings"]}


def difference(name: str, a: Sequence[Record], b: Sequence[Record]) -> dict[str, Any]:
    """One metric of two runs over the same problems, and how they differ, resampled together."""
    first, second = ([_statistics(record, name) for record in records] for records in (a, b))
    measure = _measure(name)
    found: Interval = stats.paired_difference(first, second, measure)
    return {"a": measure(_total(first)), "b": measure(_total(second)), "difference": asdict(found)}


def names_of(records: Sequence[Record]) -> list[str]:
    """The metrics that all records have."""
    first = records[0]["scores"][0] if records else {}
    return [name for name in first if all(name in scores for record in records for scores in record["scores"])]


def _statistics(record: Record, name: str) -> list[float]:
    """What a problem's responses add to the sums that the metric is computed from."""
    rows = [_row(scores[name]) for scores in record["scores"]]
    return _total(rows)


def _row(score: Any) -> list[float]:
    if isinstance(score, float):
        return [score, 1.0]
    return [*score["counts"], *score["totals"], score["sys_len"], score["ref_len"]]


def _total(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _measure(name: str) -> Callable[[Sequence[float]], float]:
    """From sums over problems to the metric."""
    return _mean if name in ROUGE else _corpus_bleu()


def _mean(sums: Sequence[float]) -> float:
    return sums[0] / sums[1]


def _corpus_bleu() -> Callable[[Sequence[float]], float]:
    from sacrebleu.metrics.bleu import BLEU

    def measure(sums: Sequence[float]) -> float:
        whole = [int(value) for value in sums]
        counts, totals = whole[:ORDERS], whole[ORDERS : 2 * ORDERS]
        return float(BLEU.compute_bleu(counts, totals, whole[-2], whole[-1], smooth_method="exp").score)

    return measure
