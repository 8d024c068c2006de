"""From a trained stable-baselines3 model to the artifact that the daemon runs.

The actor's matrices and the normaliser's statistics are taken out as plain numbers; golden vectors are computed by
stable-baselines3 itself, and the numpy policy must agree before anything is published.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
import stable_baselines3
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecNormalize

from brokers import charges as levies
from market.errors import OperatorError
from strategies import artifact
from strategies.observation import CLIP, VERSION, schema
from strategies.policy import Normalizer, Policy
from strategies.production_config import ProductionConfig

Float32Array = NDArray[np.float32]

# What the design asks of the numpy policy against SAC.predict.
PARITY: Final = 1e-6


def actor_layers(model: SAC) -> list[tuple[Float32Array, Float32Array]]:
    """Return (weight [out, in], bias [out]) of the actor's hidden layers and of its mean, copied."""
    linears = [layer for layer in model.actor.latent_pi if isinstance(layer, torch.nn.Linear)]
    return [
        (layer.weight.detach().cpu().numpy().copy(), layer.bias.detach().cpu().numpy().copy())
        for layer in (*linears, model.actor.mu)
    ]


def normalizer_of(environment: VecNormalize) -> Normalizer:
    """Return the running statistics as they are now."""
    statistics = environment.obs_rms
    return Normalizer(
        np.array(statistics.mean, dtype=np.float64),
        np.array(statistics.var, dtype=np.float64),
        epsilon=float(environment.epsilon),
        clip=float(environment.clip_obs),
    )


def policy_of(model: SAC, environment: VecNormalize) -> Policy:
    """Return the numpy policy of a model as it is now."""
    return Policy(normalizer_of(environment), actor_layers(model))


def golden_vectors(
    model: SAC, environment: VecNormalize, observations: Float32Array
) -> list[tuple[Float32Array, Float32Array]]:
    """Return (observation, action by SAC.predict) for observations [K, size] and two at the ends of the range."""
    size = observations.shape[1]
    ends = np.where(np.arange(size) % 2, np.float32(CLIP), np.float32(-CLIP))
    rows = np.concatenate([observations, ends[None], -ends[None]]).astype(np.float32)
    actions, _ = model.predict(environment.normalize_obs(rows), deterministic=True)
    return list(zip(rows, actions.astype(np.float32), strict=True))


def check_parity(policy: Policy, golden: Sequence[tuple[Float32Array, Float32Array]]) -> float:
    """Return the largest difference of an action. Raises OperatorError above 1e-6: nothing may be published then."""
    gap = max(float(np.abs(policy.act(seen) - done).max()) for seen, done in golden)
    if not gap <= PARITY:
        raise OperatorError(f"export: the numpy policy differs from SAC.predict by {gap:.2g}, allowed: {PARITY:g}")
    return gap


def library_versions() -> dict[str, str]:
    """Return the versions of what computes a model."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
        "stable_baselines3": stable_baselines3.__version__,
        "gymnasium": gymnasium.__version__,
    }


def charges_table() -> dict[str, Any]:
    """Return the dated levies that training was charged, as in brokers/charges.py (units: see there)."""
    names = ("STT", "EXCHANGE", "IPFT", "SEBI", "TAX", "STAMP_BUY", "STAMP_SELL", "DEPOSITORY")
    return {name.lower(): [[day.isoformat(), rate] for day, rate in getattr(levies, name)] for name in names}


def write_artifact(
    out_dir: Path,
    *,
    version: str,
    created: datetime,
    config: ProductionConfig,
    model: SAC,
    environment: VecNormalize,
    observations: Float32Array,
    metadata: dict[str, Any],
    report: dict[str, Any],
) -> Path:
    """Write production/models/{version}/ complete or not at all, and return it. `observations` become golden vectors."""
    final = out_dir / version
    temporary = out_dir / f".{version}.tmp"
    symbols, look_back = config.portfolio.assets, config.environment.look_back
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        golden = golden_vectors(model, environment, observations)
        gap = check_parity(policy_of(model, environment), golden)
        model.save(temporary / artifact.SB3_MODEL)
        environment.save(str(temporary / artifact.SB3_NORMALIZER))
        artifact.write_policy(temporary, actor_layers(model), normalizer_of(environment))
        described = {
            "version": version,
            "created": created.isoformat(),
            "symbols": list(symbols),
            "look_back": look_back,
            "observation": {
                "version": VERSION,
                "hash": schema(len(symbols), look_back).hash,
                "names": list(schema(len(symbols), look_back).names),
            },
            "parity_with_sac_predict": gap,
            "libraries": library_versions(),
            "charges": charges_table(),
            **metadata,
        }
        for name, content in ((artifact.METADATA, described), (artifact.VALIDATION, report)):
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        artifact.write_manifest(
            temporary,
            version=version,
            created=created.isoformat(),
            expires=created.date() + timedelta(days=config.deployment.model_valid_days),
            symbols=symbols,
            look_back=look_back,
            golden=golden,
        )
        artifact.publish(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final
