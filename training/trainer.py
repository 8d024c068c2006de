"""Training: stable-baselines3 SAC on `PortfolioMarket`, from a configuration and bars to a published artifact.

The model that is saved is the last one: evaluations on validation sessions are recorded and choose nothing, so the
validation report is not the best of many looks. The same configuration, bars, seed and library versions on the same kind
of CPU give the same model. A run that is interrupted goes on from its last checkpoint (`resume`), with
fresh episodes and a random stream of its own: as good, not bit-identical.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from brokers.charges import DeliveryCharges
from market.errors import BadInput
from market.store import DailyBars
from risk.schema import RiskLimits
from strategies.artifact import check_version
from strategies.performance import measure
from strategies.policy import PolicyStrategy
from strategies.production_config import ProductionConfig
from training.environment import PortfolioVecEnv
from training.export import policy_of, write_artifact
from training.portfolio_market import PortfolioMarket, Tables, build_tables
from training.progress import Mode, TrainingProgress
from training.splits import Split, split_bars
from training.validation import run_strategy, validation_report

CHECKPOINT: Final = "checkpoint"
_MODEL: Final = "model.zip"
_NORMALIZER: Final = "vec_normalize.pkl"
_BUFFER: Final = "replay_buffer.pkl"
_STATE: Final = "state.json"
# More threads inside products of 256 x 256 cost more than they bring, and would make sums depend on the machine.
_THREADS: Final = 1
_GOLDEN: Final = 4
_LOSSES: Final = ("train/actor_loss", "train/critic_loss", "train/ent_coef")


def train(
    config: ProductionConfig,
    bars: DailyBars,
    limits: RiskLimits,
    *,
    timesteps: int,
    seed: int,
    created: datetime,
    out_dir: Path,
    log_dir: Path,
    progress: Mode = "auto",
    resume: Path | None = None,
) -> Path:
    """Train for `timesteps` environment steps in total and return the new model's directory.

    `created` names the version; the log and checkpoints go to log_dir/{version}/. `resume` is a checkpoint directory of a
    run with the same configuration, data and seed. Raises BadInput for bars that do not suffice or a version that exists.
    """
    version = f"v{config.portfolio.version}_{created:%Y%m%d_%H%M%S}"
    check_version(version)
    if timesteps < 1 or seed < 0:
        raise BadInput(f"training: timesteps {timesteps}, seed {seed}; allowed: at least 1 and 0")
    if timesteps <= config.model.learning_starts:
        raise BadInput(
            f"training: timesteps {timesteps}; allowed: more than model.learning_starts ({config.model.learning_starts}), "
            "or nothing would be learnt"
        )
    if (out_dir / version).exists():
        raise BadInput(f"{out_dir / version}: this version exists already; a version is never overwritten")
    torch.set_num_threads(_THREADS)
    split = split_bars(bars, config)
    charges = DeliveryCharges.default()
    tables = build_tables(split.validation, config, limits, charges)
    inner = PortfolioVecEnv(split.train, config, limits, count=config.model.environments, seed=seed)
    logs = log_dir / version
    logs.mkdir(parents=True, exist_ok=True)
    identity = {"seed": seed, "data": bars.sha256, "config": config.model_dump(mode="json"), "limits": limits.version}
    session = _open(config, inner, seed=seed, identity=identity, resume=resume)
    remaining = max(0, timesteps - session.model.num_timesteps)
    with TrainingProgress(progress, total=remaining, done=session.model.num_timesteps) as shown:
        callback = _Recorder(session, split, tables, config, limits, identity=identity, logs=logs, shown=shown)
        try:
            session.model.learn(remaining, callback=callback, log_interval=None, reset_num_timesteps=False)
            callback.finish()
        finally:
            callback.close()
    strategy = PolicyStrategy(
        policy_of(session.model, session.environment),
        symbols=config.portfolio.assets,
        look_back=config.environment.look_back,
        version=version,
    )
    report = validation_report(strategy, split.validation, config, limits, tables)
    days = bars.days.astype("datetime64[D]")
    metadata = {
        "data": {
            "sha256": bars.sha256,
            "rows": len(days),
            "first": str(days[0]),
            "last": str(days[-1]),
        },
        "split": split.record,
        "seed": seed,
        "timesteps": int(session.model.num_timesteps),
        "updates": int(session.model._n_updates),
        "resumed": resume is not None,
        "reward": config.environment.reward.model_dump(mode="json"),
        "config": identity["config"],
        "limits": {"version": limits.version, **limits.model_dump(mode="json")},
        "training_curve": session.curve,
    }
    directory = write_artifact(
        out_dir,
        version=version,
        created=created,
        config=config,
        model=session.model,
        environment=session.environment,
        observations=_sample(split, config, limits, tables),
        metadata=metadata,
        report={"model": version, **report},
    )
    summary = {key: metadata[key] for key in ("seed", "timesteps", "updates", "split", "data")}
    _write_json(logs / "summary.json", {"version": version, **summary, "criteria": report["criteria"]})
    shutil.rmtree(logs / CHECKPOINT, ignore_errors=True)
    return directory


@dataclass(slots=True)
class _Session:
    """A learner with its normalised environment, and the curve so far."""

    model: SAC
    environment: VecNormalize
    curve: list[dict[str, Any]]


def _open(
    config: ProductionConfig, inner: PortfolioVecEnv, *, seed: int, identity: dict[str, Any], resume: Path | None
) -> _Session:
    settings = config.model
    if resume is not None:
        return _reopen(inner, identity, resume)
    environment = VecNormalize(
        inner,
        norm_obs=True,
        norm_reward=settings.normalize.rewards,
        clip_obs=settings.normalize.clip,
        clip_reward=settings.normalize.clip,
        gamma=settings.gamma,
    )
    model = SAC(
        "MlpPolicy",
        environment,
        learning_rate=settings.learning_rate,
        buffer_size=settings.buffer_size,
        learning_starts=settings.learning_starts,
        batch_size=settings.batch_size,
        tau=settings.tau,
        gamma=settings.gamma,
        train_freq=1,
        gradient_steps=settings.gradient_steps,
        ent_coef=settings.ent_coef,
        policy_kwargs={
            "net_arch": list(settings.network),
            "activation_fn": torch.nn.ReLU,
            # One kernel for all parameters: the same update, about 8 % faster on one core.
            "optimizer_kwargs": {"fused": True},
        },
        seed=seed,
        device="cpu",
        verbose=0,
    )
    return _Session(model, environment, [])


def _reopen(inner: PortfolioVecEnv, identity: dict[str, Any], resume: Path) -> _Session:
    try:
        state = json.loads((resume / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{resume}: is not a checkpoint ({error})") from error
    for key, value in identity.items():
        if state["identity"].get(key) != value:
            raise BadInput(f"{resume / _STATE}: {key} is not this run's; resume with the same configuration and data")
    environment = VecNormalize.load(str(resume / _NORMALIZER), inner)
    model = SAC.load(resume / _MODEL, env=environment, device="cpu")
    model.load_replay_buffer(resume / _BUFFER)
    # A stream of its own: the seed's first numbers were used before the checkpoint.
    model.set_random_seed(int(np.random.SeedSequence([identity["seed"], state["timesteps"]]).generate_state(1)[0] >> 1))
    model._last_obs = None
    return _Session(model, environment, state["curve"])


class _Recorder(BaseCallback):  # type: ignore[misc]
    """Evaluates, logs, checkpoints and shows progress at the configured numbers of timesteps."""

    def __init__(
        self,
        session: _Session,
        split: Split,
        tables: Tables,
        config: ProductionConfig,
        limits: RiskLimits,
        *,
        identity: dict[str, Any],
        logs: Path,
        shown: TrainingProgress,
    ) -> None:
        super().__init__()
        self._session = session
        self._split, self._tables = split, tables
        self._config, self._limits = config, limits
        self._identity, self._logs, self._shown = identity, logs, shown
        self._next_evaluation = session.model.num_timesteps + config.model.eval_every
        self._next_checkpoint = session.model.num_timesteps + config.model.checkpoint_every
        self._file = (logs / "training.jsonl").open("a", encoding="utf-8")

    def _on_step(self) -> bool:
        self._shown.advance(self.num_timesteps)
        return True

    def _on_rollout_start(self) -> None:
        # Between two steps, when the last one's update is done: a checkpoint is then a whole state.
        done = self.num_timesteps
        if done >= self._next_evaluation:
            self._next_evaluation += self._config.model.eval_every
            self._evaluate()
        if done >= self._next_checkpoint:
            self._next_checkpoint += self._config.model.checkpoint_every
            self._checkpoint()

    def finish(self) -> None:
        """Record the last state."""
        curve = self._session.curve
        if not curve or curve[-1]["timesteps"] != self._session.model.num_timesteps:
            self._evaluate()

    def close(self) -> None:
        """Close the log."""
        self._file.close()

    def _evaluate(self) -> None:
        model = self._session.model
        strategy = PolicyStrategy(
            policy_of(model, self._session.environment),
            symbols=self._config.portfolio.assets,
            look_back=self._config.environment.look_back,
        )
        run = run_strategy(strategy, self._split.validation, self._config, self._limits, tables=self._tables)
        measures = measure(run.equity)
        episodes = [episode["r"] for episode in model.ep_info_buffer or ()]
        values = model.logger.name_to_value
        record: dict[str, Any] = {
            "timesteps": int(model.num_timesteps),
            "updates": int(model._n_updates),
            "episode_reward": float(np.mean(episodes)) if episodes else None,
            "validation_return": measures.total_return,
            "validation_sharpe": measures.sharpe,
            **{name.removeprefix("train/"): float(values[name]) if name in values else None for name in _LOSSES},
        }
        self._session.curve.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        self._shown.report(record)

    def _checkpoint(self) -> None:
        """Write a checkpoint beside the last one, then take its place: an interruption leaves a whole one."""
        model, environment = self._session.model, self._session.environment
        temporary, final, old = (self._logs / name for name in (f"{CHECKPOINT}.tmp", CHECKPOINT, f"{CHECKPOINT}.old"))
        for path in (temporary, old):
            shutil.rmtree(path, ignore_errors=True)
        temporary.mkdir()
        model.save(temporary / _MODEL)
        model.save_replay_buffer(temporary / _BUFFER)
        environment.save(str(temporary / _NORMALIZER))
        state = {"identity": self._identity, "timesteps": int(model.num_timesteps), "curve": self._session.curve}
        _write_json(temporary / _STATE, state)
        if final.exists():
            final.rename(old)
        temporary.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _sample(split: Split, config: ProductionConfig, limits: RiskLimits, tables: Tables) -> Any:
    """Return observations [K, size] from all over validation, in cash and invested, for golden vectors."""
    market = PortfolioMarket(split.validation, config, limits, count=_GOLDEN, tables=tables)
    starts = np.linspace(market.first, market.last - 1, _GOLDEN).astype(int).tolist()
    for k, start in enumerate(starts):
        market.reset(k, start=start, invested=k % 2 == 1)
    return market.observations()


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
