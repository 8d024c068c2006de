"""The `tarazu` command: arguments in, exit code out. 0 ok, 1 the answer is no, 2 bad usage or configuration, 3 a
dependency failed. A user's mistake is one line on standard error, never a traceback."""

from __future__ import annotations

import sys

import typer

from tarazu import __version__
from tarazu.commands import broker, data, demo, models, operate, run, simulate, stress, training
from tarazu.guard import foreign_rooms

app = typer.Typer(
    name="tarazu",
    help="A trading daemon for Indian equities: model, risk gate, broker, journal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tarazu {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """A trading daemon for Indian equities: model, risk gate, broker, journal."""


operate.register(app)
run.register(app)
broker.register(app)
stress.register(app)
simulate.register(app)
demo.register(app)
training.register(app)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    foreign = foreign_rooms()
    if foreign:
        _fail(
            "another package shadows this program: " + "; ".join(foreign) + ". Install tarazu in its own environment", 2
        )
    from market.errors import BadInput, DependencyFailed, OperatorError

    try:
        app(arguments, prog_name="tarazu")
    except BadInput as error:
        _fail(str(error), 2)
    except OperatorError as error:
        _fail(str(error), 1)
    except DependencyFailed as error:
        _fail(str(error), 3)
    except OSError as error:
        # The disk or the system said no (full, read-only, not permitted): nothing that a traceback would explain.
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 3)


def _fail(text: str, code: int) -> None:
    line = " ".join(text.split())
    sys.stderr.write(f"tarazu: {line}\n")
    raise SystemExit(code)
