"""Reference solutions as responses: right ones, for which no model is asked. Their form is the one that the solve prompt wants."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from evalsuite.tasks import Task
from redraft import records
from redraft.prompts import RIGHT
from trainer.errors import BadRow


def solutions(task: Task, output: Path) -> Counter[str]:
    """Write one row a problem: fit for `fit` (`problem`, `solution`), and for `inject` and `critique` (`response`, `gold`, `label`)."""
    rows = []
    for problem in task.problems:
        if problem.solution is None:
            raise BadRow(f"{task.name}/{problem.id}", "solution", "is missing: this task has no reference solutions")
        text = problem.solution.strip()
        if "\\boxed" not in text:
            text += f"\nThe answer is \\boxed{{{problem.answer}}}."
        rows.append(
            {"id": problem.id, "problem": problem.problem, "solution": text, "response": text, "gold": problem.answer, "label": RIGHT}
        )
    records.write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return Counter({RIGHT: len(rows)})
