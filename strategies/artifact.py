"""The model artifact: the contract between training, which writes it, and the daemon, which runs it.

`production/models/v{n}_{timestamp}/` holds

    policy.safetensors, normalizer.json     what the daemon runs: plain numbers, nothing that executes when it is read
    metadata.json, validation_report.json   what it was made from, and what it came to
    final_model.zip, vec_normalize.pkl      stable-baselines3, for further training; the daemon hashes but never opens them
    manifest.json                           sha256 of each of these, and of itself; universe, schema, expiry, golden vectors

A golden vector is an observation with the action that training's own network gave for it: a policy that loads but
computes something else is found before it decides. A directory appears complete or not at all (written elsewhere, synced,
renamed), and which version is in use is one small file, `active`, that is replaced atomically.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from market.errors import BadInput
from strategies.observation import schema
from strategies.policy import Normalizer, Policy, PolicyStrategy

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
POLICY: Final = "policy.safetensors"
NORMALIZER: Final = "normalizer.json"
METADATA: Final = "metadata.json"
VALIDATION: Final = "validation_report.json"
SB3_MODEL: Final = "final_model.zip"
SB3_NORMALIZER: Final = "vec_normalize.pkl"
FILES: Final = (SB3_MODEL, SB3_NORMALIZER, POLICY, NORMALIZER, METADATA, VALIDATION)
ACTIVE: Final = "active"
# Golden actions come from another library's arithmetic on possibly another CPU.
GOLDEN_TOLERANCE: Final = 1e-5

_VERSION: Final = re.compile(r"^v(\d{1,6})_([A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)$")
_SELF: Final = "sha256"

Float32Array = NDArray[np.float32]


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An observation [size] and the action [n] that belongs to it."""

    observation: tuple[float, ...]
    action: tuple[float, ...]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an artifact is. `files`: name -> sha256; `sha256` is that of the manifest without this field."""

    format: int
    version: str
    created: str
    expires: date
    symbols: tuple[str, ...]
    look_back: int
    schema_hash: str
    files: dict[str, str]
    golden: tuple[Golden, ...]
    sha256: str


# ---- writing (training) ----------------------------------------------------------------------------------------------


def write_policy(directory: Path, layers: Sequence[tuple[Float32Array, Float32Array]], normalizer: Normalizer) -> None:
    """Write policy.safetensors and normalizer.json. `layers` as in `Policy`."""
    tensors = {}
    for number, (weight, bias) in enumerate(layers):
        tensors[f"{number}.weight"] = np.ascontiguousarray(weight, dtype=np.float32)
        tensors[f"{number}.bias"] = np.ascontiguousarray(bias, dtype=np.float32)
    # One entry only: the library writes several in no fixed order, and the same policy must be the same bytes.
    content = save_tensors(tensors, metadata={"activations": "relu, tanh at the end"})
    (directory / POLICY).write_bytes(content)
    numbers = {
        "mean": normalizer.mean.tolist(),
        "var": normalizer.var.tolist(),
        "epsilon": normalizer.epsilon,
        "clip": normalizer.clip,
    }
    (directory / NORMALIZER).write_text(json.dumps(numbers) + "\n", encoding="utf-8")


def write_manifest(
    directory: Path,
    *,
    version: str,
    created: str,
    expires: date,
    symbols: tuple[str, ...],
    look_back: int,
    golden: Sequence[tuple[Float32Array, Float32Array]],
) -> Manifest:
    """Seal a directory that holds all `FILES`: hash them and write manifest.json. `golden`: (observation, action)."""
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing or not golden:
        raise BadInput(f"{directory.name}: an artifact needs golden vectors and {', '.join(missing) or 'its files'}")
    check_version(version)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": version,
        "created": created,
        "expires": expires.isoformat(),
        "symbols": list(symbols),
        "look_back": look_back,
        "schema_hash": schema(len(symbols), look_back).hash,
        "files": {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in FILES},
        "golden": [{"observation": seen.tolist(), "action": done.tolist()} for seen, done in golden],
    }
    content[_SELF] = _digest(content)
    (directory / MANIFEST).write_text(json.dumps(content) + "\n", encoding="utf-8")
    return msgspec.convert(content, Manifest)


def publish(directory: Path, final: Path) -> None:
    """Make a sealed directory appear under its final name, durably: sync each file, rename, sync the parent."""
    if final.exists():
        raise BadInput(f"{final}: this version exists already; a version is never overwritten")
    for path in directory.iterdir():
        _sync(path)
    _sync(directory)
    directory.rename(final)
    _sync(final.parent)


# ---- reading (daemon) ------------------------------------------------------------------------------------------------


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest after verifying it and every file that it names. BadInput names the file that is wrong."""
    return _read_verified(directory)[0]


def load_artifact(path: Path, *, symbols: tuple[str, ...], look_back: int, today: date) -> PolicyStrategy:
    """Return the policy of an artifact, verified against its manifest and against what the caller trades.

    Raises BadInput with one line for: a file missing or changed, an unknown format, another universe or order, another
    look-back or observation schema, an artifact past its expiry, golden vectors that do not come out.
    """
    manifest, contents = _read_verified(path)
    if manifest.symbols != symbols:
        raise BadInput(
            f"{path}: was trained for {', '.join(manifest.symbols)}; the portfolio is {', '.join(symbols)} "
            "(the order counts)"
        )
    if manifest.look_back != look_back:
        raise BadInput(f"{path}: was trained with look_back {manifest.look_back}; the configuration has {look_back}")
    expected = schema(len(symbols), look_back).hash
    if manifest.schema_hash != expected:
        raise BadInput(
            f"{path}: observation schema {manifest.schema_hash[:12]} is not this version's {expected[:12]}; retrain"
        )
    if today > manifest.expires:
        raise BadInput(f"{path}: expired on {manifest.expires}, today is {today}; retrain (tarazu train)")
    policy = _policy(path, contents)
    _check_golden(path, policy, manifest.golden)
    return PolicyStrategy(policy, symbols=symbols, look_back=look_back, version=manifest.version)


def _read_verified(directory: Path) -> tuple[Manifest, Mapping[str, bytes]]:
    """Return the manifest and the contents of the files that are run; each byte is hashed and used from one read."""
    manifest = _manifest(directory)
    contents = {}
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise BadInput(f"{directory / MANIFEST}: files: {name!r}: must be a name without a directory")
        content = _bytes(directory / name)
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise BadInput(
                f"{directory / name}: sha256 {actual[:12]} is not the manifest's {expected[:12]}; the file was changed"
            )
        if name in (POLICY, NORMALIZER):
            contents[name] = content
    return manifest, contents


def _manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    raw = _bytes(path)
    try:
        content = json.loads(raw)
        manifest = msgspec.convert(content, Manifest)
    except (ValueError, msgspec.ValidationError) as error:
        raise BadInput(f"{path}: is not a manifest ({error})") from error
    if manifest.format != FORMAT:
        raise BadInput(f"{path}: format {manifest.format}: this version reads {FORMAT}")
    if content.pop(_SELF) != _digest(content):
        raise BadInput(f"{path}: its sha256 does not match its content; the file was changed")
    absent = [name for name in FILES if name not in manifest.files]
    if absent or not manifest.golden:
        raise BadInput(f"{path}: names no {', '.join(absent) or 'golden vectors'}; the artifact is incomplete")
    return manifest


def _policy(directory: Path, contents: Mapping[str, bytes]) -> Policy:
    path = directory / POLICY
    try:
        tensors = load_tensors(contents[POLICY])
        count = len(tensors) // 2
        layers = [(tensors[f"{number}.weight"], tensors[f"{number}.bias"]) for number in range(count)]
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: is not a policy ({error})") from error
    path = directory / NORMALIZER
    try:
        numbers = json.loads(contents[NORMALIZER])
        normalizer = Normalizer(
            np.array(numbers["mean"], dtype=np.float64),
            np.array(numbers["var"], dtype=np.float64),
            epsilon=float(numbers["epsilon"]),
            clip=float(numbers["clip"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: is not a normalizer ({error})") from error
    return Policy(normalizer, layers)


def _check_golden(directory: Path, policy: Policy, golden: Sequence[Golden]) -> None:
    for number, vector in enumerate(golden):
        seen = np.array(vector.observation, dtype=np.float32)
        if len(seen) != policy.observation_size or len(vector.action) != policy.action_size:
            raise BadInput(f"{directory / MANIFEST}: golden vector {number} does not fit the policy")
        gap = float(np.abs(policy.act(seen) - np.array(vector.action)).max())
        if not gap <= GOLDEN_TOLERANCE:
            raise BadInput(
                f"{directory / POLICY}: golden vector {number} comes out different by {gap:.2g}, allowed: "
                f"{GOLDEN_TOLERANCE:g}; this machine does not compute what was trained"
            )


# ---- versions --------------------------------------------------------------------------------------------------------


def check_version(version: str) -> None:
    """Raise BadInput for a name that is no version: v{n}_{timestamp}."""
    if not _VERSION.match(version):
        raise BadInput(f"model version {version!r}: must look like v1_20261123_093000")


def list_versions(models_dir: Path) -> list[str]:
    """Return the names of complete versions, oldest first (by number, then timestamp); none for a missing directory."""
    if not models_dir.is_dir():
        return []
    found = []
    for path in models_dir.iterdir():
        match = _VERSION.match(path.name)
        if match and (path / MANIFEST).is_file():
            found.append((int(match[1]), match[2], path.name))
    return [name for _, _, name in sorted(found)]


def newest(models_dir: Path) -> str | None:
    """Return the newest version, or None."""
    versions = list_versions(models_dir)
    return versions[-1] if versions else None


def active_version(models_dir: Path) -> str | None:
    """Return the version that the daemon is to use, None when none is active. BadInput for a broken pointer."""
    path = models_dir / ACTIVE
    if not path.exists():
        return None
    version = _bytes(path).decode(errors="replace").strip()
    check_version(version)
    if not (models_dir / version / MANIFEST).is_file():
        raise BadInput(f"{path}: names {version}, which is not there; choose one with: tarazu models activate")
    return version


def activate(models_dir: Path, version: str) -> None:
    """Verify a version and make it the active one: a reader sees the old name or the new one, never a part."""
    check_version(version)
    if not (models_dir / version).is_dir():
        raise BadInput(f"{models_dir / version}: there is no such version; see: tarazu models list")
    read_manifest(models_dir / version)
    temporary = models_dir / f"{ACTIVE}.tmp"
    temporary.write_text(version + "\n", encoding="utf-8")
    _sync(temporary)
    temporary.replace(models_dir / ACTIVE)
    _sync(models_dir)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
