"""`string_check` and `text_similarity`: two texts in, a number out. The measures are those of known libraries, loaded when first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Literal

from evalsuite.graders.errors import InvalidGrader

MAX_CHARS = 10_000
"""Only this much of each text is compared: some of the measures take quadratic time."""


def string_check(operation: Literal["eq", "ne", "like", "ilike"], found: str, reference: str) -> float:
    match operation:
        case "eq":
            return float(found == reference)
        case "ne":
            return float(found != reference)
        case "like":
            return float(reference in found)
        case "ilike":
            return float(reference.casefold() in found.casefold())


def similarity(metric: str, found: str, reference: str) -> float:
    """How alike two texts are, from 0 to 1. Two empty texts are alike, an empty one is like no other."""
    found, reference = found[:MAX_CHARS], reference[:MAX_CHARS]
    if not found.strip() or not reference.strip():
        return float(found.strip() == reference.strip())
    if metric == "fuzzy_match":
        return float(_library("rapidfuzz.fuzz").ratio(found, reference)) / 100
    if metric == "bleu":
        score = _library("sacrebleu").sentence_bleu(found, [reference]).score / 100
        return min(1.0, float(score))
    if metric == "gleu":
        return float(_library("nltk.translate.gleu_score").sentence_gleu([reference.split()], found.split()))
    rouge = metric.replace("_l", "L").replace("_", "")
    scores = _library("rouge_score.rouge_scorer").RougeScorer([rouge]).score(reference, found)
    return float(scores[rouge].fmeasure)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise InvalidGrader(f"evaluation_metric: the package {package} is not installed; the extras `eval` and `train` have it") from error
