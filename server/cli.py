"""The `redraft` command. Quick: nothing heavy is imported before a subcommand needs it."""

from __future__ import annotations

import typer
from rich.console import Console

from redraft.errors import RedraftError
from server.commands import adapters, calibrate, critique, keys, model, promote, serve, solve

app = typer.Typer(
    help="Serve models that check their own work.", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.command("serve", context_settings=serve.OURS, options_metavar=serve.USAGE)(serve.serve)
app.command("solve")(solve.solve)
app.command("critique")(critique.critique)
app.command("calibrate")(calibrate.calibrate)
app.command("promote", context_settings=promote.REST)(promote.promote)
app.add_typer(adapters.app, name="adapters")
app.add_typer(keys.app, name="keys")
app.add_typer(model.app, name="model")


def main() -> None:
    """Run the command; a typed error is one line and exit 1, an interrupt exit 130."""
    try:
        app()
    except RedraftError as error:
        Console(stderr=True).print(f"redraft: {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
