"""All examples of a run, rendered. Knows the limit on their length, and what is done with rows that are over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from trainer.config import FitConfig, Method, Source
from trainer.data.rows import read
from trainer.errors import BadConfig, BadRow
from trainer.fitting.render import Rendered, Renderer


@dataclass(frozen=True, slots=True)
class Examples:
    """What is trained on, and the rows that were too long for it."""

    kept: tuple[Rendered, ...]
    dropped: tuple[str, ...]

    @property
    def trained_tokens(self) -> int:
        return sum(len(example.completion) + len(example.rejected or ()) for example in self.kept)


def render_all(sources: Sequence[Source], config: FitConfig, renderer: Renderer, console: Console) -> Examples:
    """Render every row; one that is over `max_length` is refused, or dropped and named if the configuration says so."""
    room = config.max_length - (config.rft.max_completion_length if config.method is Method.RFT else 0)
    kept: list[Rendered] = []
    dropped: list[str] = []
    for source in sources:
        for example in track(read(source, config.method), f"rendering {source.name}", console=console, transient=True):
            rendered = renderer.render(example)
            if len(rendered) <= room:
                kept.append(rendered)
            elif config.overlong == "drop":
                dropped.append(example.where)
            else:
                raise BadRow(
                    example.where,
                    "problem" if config.method is Method.RFT else "completion",
                    f"{len(rendered)} tokens with its prompt are over {_limit(config)} and would be cut; "
                    "raise max_length, or set overlong=drop to leave such rows out",
                )
    if sources and not kept:
        raise BadConfig(f"data: all {len(dropped)} rows are over max_length {config.max_length}", param="max_length")
    if dropped:
        console.print(f"[yellow]{len(dropped)} rows over max_length {config.max_length} left out[/yellow] (the manifest names them)")
    return Examples(tuple(kept), tuple(dropped))


def _limit(config: FitConfig) -> str:
    less = f" less rft.max_completion_length {config.rft.max_completion_length}" if config.method is Method.RFT else ""
    return f"max_length {config.max_length}{less}"
