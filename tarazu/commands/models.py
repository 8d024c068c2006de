"""Commands on model versions: list, show, activate."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from tarazu.commands.operate import AsJson, Root

app = typer.Typer(help="Model versions: list, show, activate.", no_args_is_help=True)


@app.command(name="list")
def list_(root: Path = Root, as_json: bool = AsJson) -> None:
    """List the model versions; * marks the active one.

    Example: tarazu models list
    """
    from strategies.artifact import active_version, list_versions

    models = root / "models"
    active = active_version(models)
    versions = list_versions(models)
    if as_json:
        typer.echo(json.dumps({"active": active, "versions": versions}))
        return
    for version in versions:
        typer.echo(f"{'*' if version == active else ' '} {version}")
    if not versions:
        typer.echo(f"{models}: no versions yet; make one with: tarazu train")


@app.command()
def show(
    version: str = typer.Argument(..., help="A version, or a model directory."),
    root: Path = Root,
    as_json: bool = AsJson,
) -> None:
    """Show a version: universe, data, training, validation; verifies its files.

    Example: tarazu models show v1_20261123_093000
    """
    from market.errors import BadInput
    from strategies.artifact import read_manifest

    directory = Path(version) if Path(version).is_dir() else root / "models" / version
    if not directory.is_dir():
        raise BadInput(f"{directory}: there is no such version; see: tarazu models list")
    read_manifest(directory)
    metadata = json.loads((directory / "metadata.json").read_text())
    report_file = directory / "validation_report.json"
    report = json.loads(report_file.read_text()) if report_file.exists() else {}
    if as_json:
        typer.echo(json.dumps({"metadata": metadata, "validation": report}))
        return
    typer.echo(json.dumps({key: value for key, value in metadata.items() if key != "training_curve"}, indent=2))
    typer.echo(json.dumps(report, indent=2))


@app.command()
def activate(version: str = typer.Argument(..., help="A version in the models directory."), root: Path = Root) -> None:
    """Make a version the one that the daemon uses from its next decision on; it is verified first.

    Example: tarazu models activate v1_20261123_093000
    """
    from strategies.artifact import activate as activate_version

    activate_version(root / "models", version)
    typer.echo(f"active: {version}")
