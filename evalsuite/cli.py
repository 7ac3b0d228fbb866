"""The `evalsuite` command. Subcommands live in `evalsuite.commands`; errors they raise become one line and an exit code here."""

from __future__ import annotations

import sys

import typer

from evalsuite.commands.aggregate import aggregate
from evalsuite.commands.compare import compare
from evalsuite.commands.exits import Exit
from evalsuite.commands.export import export
from evalsuite.commands.grade_check import grade_check
from evalsuite.commands.report import report
from evalsuite.commands.rescore import rescore
from evalsuite.commands.run import run
from evalsuite.commands.sweep import sweep
from evalsuite.commands.table import table
from evalsuite.commands.tasks import tasks
from redraft.errors import RedraftError

app = typer.Typer(
    help="Measure how well a served model solves problems: accuracy with intervals, tokens and latency.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(tasks)
app.command()(compare)
app.command()(aggregate)
app.command()(rescore)
app.command()(export)
app.command()(report)
app.command()(sweep)
app.command()(table)
app.command()(grade_check)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line (that of the process when no arguments are given) and exit."""
    try:
        app(arguments)
    except RedraftError as error:
        sys.stderr.write(f"evalsuite: {error.message}\n")
        sys.exit(Exit.USAGE if error.status < 500 else Exit.INFRASTRUCTURE)


if __name__ == "__main__":
    main()
