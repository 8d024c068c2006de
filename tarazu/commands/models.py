"""Commands on model versions: list, show, activate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from tarazu.commands.operate import AsJson, Root, need_root

app = typer.Typer(help="Model versions: list, show, activate.", no_args_is_help=True)


@app.command(name="list")
def list_(root: Path = Root, as_json: bool = AsJson) -> None:
    """List the model versions; * marks the active one.

    Example: tarazu models list
    """
    from market.errors import BadInput
    from strategies.artifact import active_version, list_versions

    need_root(root)
    models = root / "models"
    versions = list_versions(models)
    try:
        active = active_version(models)
    except BadInput:
        # Who has to choose another one needs the list.
        if not as_json:
            for version in versions:
                typer.echo(f"? {version}")
        raise
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
    from strategies.artifact import read_manifest

    directory = model_directory(root, Path(version))
    read_manifest(directory)
    metadata = json.loads((directory / "metadata.json").read_text())
    report_file = directory / "validation_report.json"
    report = json.loads(report_file.read_text()) if report_file.exists() else {}
    if as_json:
        typer.echo(json.dumps({"metadata": metadata, "validation": report}))
        return
    split = metadata["split"]
    typer.echo(f"{metadata['version']}  created {metadata['created'][:16]}  seed {metadata['seed']}")
    typer.echo(f"universe    {', '.join(metadata['symbols'])}  look-back {metadata['look_back']}")
    for name in ("train", "validation"):
        typer.echo(f"{name:<11} {split[name]['first']} to {split[name]['last']}, {split[name]['rows']} sessions")
    typer.echo(f"training    {metadata['timesteps']} timesteps, {metadata['updates']} updates")
    if report:
        for line in verdict(report):
            typer.echo(line)


def model_directory(root: Path, name: Path) -> Path:
    """Return the directory of a version's name, or of a path. Raises BadInput when there is none."""
    from market.errors import BadInput

    directory = name if name.is_dir() else root / "models" / name
    if not directory.is_dir():
        raise BadInput(f"{directory}: there is no such version; see: tarazu models list")
    return directory


def verdict(report: dict[str, Any]) -> list[str]:
    """Return a validation report as lines for a person; --json has all of it."""
    lines = [f"validated   {report['first_decision']} to {report['last']}, {report['sessions']} sessions"]
    for criterion in report["criteria"]:
        mark = "pass" if criterion["passed"] else "FAIL"
        lines.append(f"{mark}  {criterion['name']:<20} {criterion['value']:.4f}  (required: {criterion['required']})")
    for name in ("policy", "equal_weight", "buy_and_hold"):
        figures = report[name]
        lines.append(
            f"{name:<13} return {figures['total_return']:+.2%}  Sharpe {figures['sharpe']:.2f} +- "
            f"{figures['sharpe_standard_error']:.2f}  max drawdown {figures['max_drawdown']:.2%}"
        )
    lines.append("passed" if report["passed"] else "NOT good enough")
    return lines


@app.command()
def activate(version: str = typer.Argument(..., help="A version in the models directory."), root: Path = Root) -> None:
    """Make a version the one that the daemon uses from its next decision on; it is verified first.

    Example: tarazu models activate v1_20261123_093000
    """
    from strategies.artifact import activate as activate_version

    activate_version(root / "models", version)
    typer.echo(f"active: {version}")
