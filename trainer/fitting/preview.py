"""What will be trained, seen before it is: rendered examples with the trained tokens in colour, and the lengths of all. Trains nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainer.config import FitConfig
from trainer.data.rows import read
from trainer.errors import BadConfig
from trainer.fitting.activation import begins_at, invocation_tokens
from trainer.fitting.base import base_folder, load_renderer
from trainer.fitting.render import Rendered, Tokenizer

PROMPT, ACTIVE, TRAINED, END, REJECTED = "dim", "cyan", "green", "bold black on green", "red"


def preview(config: FitConfig, console: Console, count: int) -> None:
    """Print the first `count` examples and the lengths of all. Raises as `fit` would for a row that cannot be rendered."""
    renderer = load_renderer(base_folder(config.model))
    rendered = [renderer.render(example) for source in config.data for example in read(source, config.method)]
    if not rendered:
        raise BadConfig("data: no rows", param="data")
    waking = config.lora and config.lora.alora_invocation
    tokens = invocation_tokens(waking, renderer) if waking else None
    legend = [("prompt", PROMPT), ("trained", TRAINED), ("end token, trained", END)]
    if tokens:
        legend.insert(1, ("prompt, the adapter is active", ACTIVE))
    console.print(Text("  ").join(Text(*entry) for entry in legend), "\n")
    for example in rendered[:count]:
        active = begins_at(example, tokens) if tokens else None
        console.rule(f"{example.where}  {len(example.prompt)} + {len(example.completion)} tokens")
        console.print(coloured(example, renderer.tokenizer, renderer.end_ids, active))
    console.print(lengths(rendered, config.max_length))


def coloured(example: Rendered, tokenizer: Tokenizer, end_ids: Iterable[int], active: int | None = None) -> Text:
    """The example's text; what is trained is told from what is not by its style. An activated LoRA acts from `active` on."""
    text = Text()
    text.append(tokenizer.decode(example.prompt[:active]), style=PROMPT)
    if active is not None:
        text.append(tokenizer.decode(example.prompt[active:]), style=ACTIVE)
    text.append_text(_reply(example.completion, TRAINED, tokenizer, end_ids))
    if example.rejected is not None:
        text.append("\nrejected: ", style="bold")
        text.append_text(_reply(example.rejected, REJECTED, tokenizer, end_ids))
    return text


def _reply(tokens: Sequence[int], style: str, tokenizer: Tokenizer, end_ids: Iterable[int]) -> Text:
    ends = frozenset(end_ids)
    body = [token for token in tokens if token not in ends]
    text = Text()
    text.append(tokenizer.decode(body), style=style)
    text.append(tokenizer.decode(tokens[len(body) :]), style=END)
    return text


def lengths(rendered: Sequence[Rendered], max_length: int) -> Table:
    """Rows and tokens, and how many rows are longer than allowed."""
    sizes = sorted(len(example) for example in rendered)
    table = Table("examples", "tokens", "trained", "median", "longest", f"over {max_length}")
    table.add_row(
        str(len(rendered)),
        str(sum(sizes)),
        str(sum(len(example.completion) for example in rendered)),
        str(sizes[len(sizes) // 2]),
        str(sizes[-1]),
        str(sum(size > max_length for size in sizes)),
    )
    return table
