"""What a person sees while an adapter is trained: steps, loss, speed, time left. Imports transformers: import it where training begins."""

from __future__ import annotations

import time
from typing import Any

import rich.progress
from rich.console import Console
from transformers import TrainerCallback

QUIET_S = 30.0
SHOWN = ("loss", "eval_loss", "mean_token_accuracy", "rewards/accuracies", "reward", "eval_reward", "completions/mean_length")


class Progress(TrainerCallback):
    """A progress bar where the console is a terminal; where it is not, a line for each log entry, and one where QUIET_S bring none."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = rich.progress.Progress(
            "[progress.description]{task.description}",
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
            "{task.fields[figures]}",
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=None, figures="")
        self.said_at = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(self.task, total=state.max_steps, completed=state.global_step)
        self.bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(self.task, completed=state.global_step)
        if not self.console.is_terminal and time.monotonic() - self.said_at > QUIET_S:
            self._say(f"step {state.global_step}/{state.max_steps}")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        shown = {key: value for key, value in (logs or {}).items() if key in SHOWN and value is not None}
        if not shown:
            return
        figures = "  ".join(f"{key} {float(value):.4f}" for key, value in shown.items())
        self.bar.update(self.task, figures=figures)
        if not self.console.is_terminal:
            self._say(f"step {state.global_step}/{state.max_steps}  {figures}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.stop()

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False)
        self.said_at = time.monotonic()


class WholeLog(TrainerCallback):
    """Logs at each checkpoint and at the last step too: the library forgets the losses since the last entry of its log."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_log |= control.should_save or state.global_step >= state.max_steps
