"""Options that more than one subcommand has, each in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TaskName = Annotated[
    str,
    typer.Option("--task", help="A named task (see `evalsuite tasks`), a .jsonl, .csv or .parquet file, or hub:OWNER/NAME?revision=SHA."),
]
BaseUrl = Annotated[str, typer.Option(help="The server, with or without /v1.")]
Model = Annotated[str | None, typer.Option(help="A served model or adapter. Default: the first that the server lists.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first LIMIT problems.")]
Responses = Annotated[
    int | None, typer.Option("--n", "--drafts", min=1, help="Responses a problem (direct 1, vote and adaptive 8), or drafts of a loop.")
]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Tokens that one response may take. Default: the task's.")]
Temperature = Annotated[float | None, typer.Option(min=0.0, max=2.0, help="Default: 0 for one response, 0.7 for several.")]
Seed = Annotated[int | None, typer.Option(help="Sent with every request.")]
Seeds = Annotated[
    str | None, typer.Option(help="Instead: a run for each of several seeds, such as 1,2,3, and their mean. Default temperature then: 0.7.")
]
ExtraBody = Annotated[str | None, typer.Option(help='For chats: more fields of the request, as JSON, such as {"top_p": 0.95}.')]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for one reply.")]
Retries = Annotated[int, typer.Option(min=0, help="How often to try again after an infrastructure failure.")]
ApiKey = Annotated[str | None, typer.Option(envvar=["EVALSUITE_API_KEY", "OPENAI_API_KEY"], help="Bearer token of the server.")]
DataDir = Annotated[Path | None, typer.Option(envvar="EVALSUITE_DATA_DIR", help="Folder with local copies of named tasks.")]
ProblemField = Annotated[str, typer.Option(help="Column of the problem in a file.")]
AnswerField = Annotated[str, typer.Option(help="Column of the gold answer in a file.")]
NumFewshot = Annotated[int | None, typer.Option(min=0, help="Solved examples before each problem. Default: the task's.")]
FewshotData = Annotated[Path | None, typer.Option(help="File that the examples are drawn from. Default: the task's train split.")]
System = Annotated[str | None, typer.Option(help="System message; empty for none. Default: the task's, and none with --metric.")]
Metric = Annotated[str | None, typer.Option(help="Text metrics to score responses by, against references: bleu, rouge or bleu,rouge.")]
ReferenceField = Annotated[
    str | None, typer.Option(help="With --metric, the column of a text or a list. Default: reference, else the answer.")
]
SloText = Annotated[str | None, typer.Option("--slo", help="Count requests that keep limits, such as ttft=500ms,e2e=10s.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

DEFAULT_URL = "http://127.0.0.1:8000"
