"""Numbers of a summary as people read them: `41.0% [32.1, 50.6]`, `p50 1.20 s`. Prints nothing."""

from __future__ import annotations

from typing import Any

SHORTEST_S = 0.0001


def interval(value: dict[str, Any] | None) -> str:
    """`41.0 % [32.1, 50.6]`, or a dash."""
    if value is None:
        return "-"
    text = f"{value['value']:.1%}"
    return text if "low" not in value else f"{text} [{value['low'] * 100:.1f}, {value['high'] * 100:.1f}]"


def metric(name: str, value: dict[str, Any]) -> str:
    """`27.3 [25.1, 29.4]` for BLEU, which is of 100, and `0.312 [0.290, 0.334]` for ROUGE."""
    digits = 1 if name == "bleu" else 3
    number, low, high = (f"{value[end]:.{digits}f}" for end in ("value", "low", "high"))
    return f"{number} [{low}, {high}]"


def seconds(latency: dict[str, Any] | None) -> str:
    """`p50 1.20 s, p95 340 ms`, or a dash."""
    return "-" if latency is None else f"p50 {duration(latency['p50'])}, p95 {duration(latency['p95'])}"


def duration(value: float) -> str:
    """Seconds from one on, milliseconds below."""
    if value < SHORTEST_S:
        return f"<{SHORTEST_S * 1000:g} ms"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def special(value: dict[str, Any]) -> dict[str, str]:
    """Rows that only some strategies have."""
    rows = {name: metric(name, found) for name, found in value.get("text", {}).items() if name != "settings"}
    rows |= {name: interval(found) for name, found in value.get("at_k", {}).items()}
    if "critic" in value:
        critic = value["critic"]
        rows["critic"] = (
            f"balanced accuracy {_share(critic['balanced_accuracy'])}, TPR {_share(critic['tpr'])}, TNR {_share(critic['tnr'])}"
        )
        if critic["calibration"] is not None:
            rates = critic["calibration"]
            rows["server setting"] = (
                f"calibrations: {{{value['model']}: {{tpr: {rates['tpr']:.4f}, fpr: {rates['fpr']:.4f}, n: {rates['n']}}}}}"
            )
        rows["p_correct"] = f"Brier {_number(critic['brier'])}, AUROC {_number(critic['auroc'])}, {critic['abstained']} abstained"
    if "loop" in value:
        rows["loops ended"] = _listed(value["loop"]["stops"])
        rows["first draft -> final"] = _listed(value["loop"]["first_draft_to_final"])
        rows["draft -> revision"] = _listed(value["loop"]["draft_to_revision"])
        if (told := value["loop"].get("critic_at_equal_votes")) is not None:
            rows["critic at equal votes"] = (
                f"balanced accuracy {_share(told['balanced_accuracy'])}, TPR {_share(told['tpr'])}, TNR {_share(told['tnr'])}"
            )
    return rows


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "-"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
