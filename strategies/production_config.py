"""The schema of `production.yaml`: portfolio, data, model, training environment and deployment.

Both the daemon and training read it, so it lives where both may import it. Every key is checked when the file is loaded; a
key that only states a fact of this version accepts nothing but that fact. Mistakes are one line: file, key, value, what
is allowed.
"""

from __future__ import annotations

import re
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from market.errors import BadInput
from market.instrument import Instrument
from market.yaml_file import read_yaml
from strategies.observation import CLIP, observation_size

_TIME: Final = re.compile(r"^([01]\d|2[0-3]):[0-5]\d$")
_ENTROPY: Final = re.compile(r"^auto(_\d+(\.\d+)?)?$")
_TOLERANCE: Final = 1e-9

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
# YAML lists become tuples; everything else is taken as written.
Names = Annotated[tuple[str, ...], Field(strict=False)]


class _Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InitialWeights(_Section):
    """What an invested training episode starts with; the daemon starts with what the account holds."""

    method: Literal["equal"] = "equal"
    cash_buffer: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.10


class Constraints(_Section):
    """Facts of this version; the limits themselves are in risk_limits.yaml and nowhere else."""

    risk_limits: Literal["risk_limits.yaml"] = "risk_limits.yaml"
    long_only: Literal[True] = True
    whole_shares: Literal[True] = True


class Rebalance(_Section):
    """When to trade. `threshold` is the no-trade band: a smaller change of a weight is not traded."""

    frequency: Literal["daily"] = "daily"
    threshold: Annotated[float, Field(ge=0.0, le=0.5)] = 0.01


class Portfolio(_Section):
    """What is traded."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    version: Annotated[int, Field(ge=1)] = 1
    assets: Names
    initial_weights: InitialWeights = InitialWeights()
    constraints: Constraints = Constraints()
    rebalance: Rebalance = Rebalance()

    @field_validator("assets")
    @classmethod
    def _universe(cls, assets: tuple[str, ...]) -> tuple[str, ...]:
        if not assets:
            raise ValueError("must be a list of one or more NSE symbols")
        for symbol in assets:
            try:
                Instrument(symbol)
            except BadInput as error:
                raise ValueError(f"{symbol!r} is not an NSE symbol (capitals, digits, & and -)") from error
            if assets.count(symbol) > 1:
                raise ValueError(f"{symbol} is there twice")
        return assets


class Data(_Section):
    """Which history training uses."""

    interval: Literal["day"] = "day"
    start: date = date(2015, 1, 1)


class Splits(_Section):
    """Shares of the sessions, in time order. `test` is held out entirely: neither training nor validation reads it."""

    train: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.90
    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.10
    test: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _all(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > _TOLERANCE:
            raise ValueError(f"train + validation + test is {total:g}: must be 1")
        return self


class Normalization(_Section):
    """Running normalisation during training (VecNormalize)."""

    clip: Annotated[float, Field(gt=0.0, le=100.0)] = 10.0
    rewards: bool = True


class Model(_Section):
    """The learner and its hyper-parameters."""

    algorithm: Literal["SAC"] = "SAC"
    features: Annotated[int, Field(ge=1)] = 173
    network: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(strict=False, min_length=1)] = (256, 256)
    activation: Literal["relu"] = "relu"
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-4
    batch_size: Annotated[int, Field(ge=1)] = 256
    buffer_size: Annotated[int, Field(ge=1)] = 100_000
    learning_starts: Annotated[int, Field(ge=0)] = 1_000
    tau: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    gamma: Annotated[float, Field(ge=0.0, le=1.0)] = 0.99
    ent_coef: str | Annotated[float, Field(gt=0.0)] = "auto_0.1"
    gradient_steps: Annotated[int, Field(ge=1)] = 1
    environments: Annotated[int, Field(ge=1, le=1024)] = 6
    total_timesteps: Annotated[int, Field(ge=1)] = 1_000_000
    eval_every: Annotated[int, Field(ge=1)] = 10_000
    checkpoint_every: Annotated[int, Field(ge=1)] = 100_000
    normalize: Normalization = Normalization()

    @field_validator("ent_coef")
    @classmethod
    def _entropy(cls, value: str | float) -> str | float:
        if isinstance(value, str) and not _ENTROPY.match(value):
            raise ValueError("must be auto, auto_0.1 (with a first value), or a number above 0")
        return value


class Reward(_Section):
    """The reward `momentum`: scale x return + sharpe_weight x rolling Sharpe - turnover_penalty x turnover above
    turnover_free (half of the change of weights that the policy asks for), clipped to +- clip."""

    name: Literal["momentum"] = "momentum"
    scale: Annotated[float, Field(gt=0.0)] = 100.0
    clip: Annotated[float, Field(gt=0.0)] = 20.0
    sharpe_weight: Annotated[float, Field(ge=0.0)] = 0.1
    turnover_penalty: Annotated[float, Field(ge=0.0)] = 0.1
    turnover_free: Fraction = 0.5


class Environment(_Section):
    """The market that the policy trains in. `look_back` is the daemon's, too."""

    look_back: Annotated[int, Field(ge=2, le=1000)] = 30
    initial_capital: Annotated[float, Field(ge=1000.0, le=1e10)] = 100_000.0
    observation_bound: Annotated[float, Field(ge=CLIP, le=CLIP)] = CLIP
    slippage_bps: Annotated[float, Field(ge=0.0, le=500.0)] = 2.0
    episode_sessions: Annotated[int, Field(ge=2)] = 252
    start_invested: Fraction = 0.5
    reward: Reward = Reward()


class Capital(_Section):
    """Rupees put in: at first, and the sum to scale to after paper trading has succeeded."""

    initial: Annotated[float, Field(ge=1000.0, le=1e10)] = 100_000.0
    scaled: Annotated[float, Field(ge=1000.0, le=1e10)] = 500_000.0

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.scaled < self.initial:
            raise ValueError(f"scaled: {self.scaled:g}: must be at least initial ({self.initial:g})")
        return self


class Monitoring(_Section):
    """Who is told."""

    contacts: Names = ()


class Deployment(_Section):
    """How the daemon trades."""

    status: Literal["development", "paper_trading", "live"] = "development"
    capital: Capital = Capital()
    trade_time: str = "09:20"
    order_type: Literal["limit"] = "limit"
    limit_offset: Annotated[float, Field(ge=0.0, le=0.2)] = 0.005
    cancel_after_minutes: Annotated[int, Field(ge=1, le=375)] = 30
    model_valid_days: Annotated[int, Field(ge=1, le=3660)] = 90
    monitoring: Monitoring = Monitoring()

    @field_validator("trade_time")
    @classmethod
    def _time(cls, value: str) -> str:
        if not _TIME.match(value) or not "09:15" <= value < "15:30":
            raise ValueError('must be a time from "09:15" to "15:29", in quotes')
        return value


class ProductionConfig(_Section):
    """All of production.yaml."""

    portfolio: Portfolio
    data: Data = Data()
    splits: Splits = Splits()
    model: Model = Model()
    environment: Environment = Environment()
    deployment: Deployment = Deployment()

    @model_validator(mode="after")
    def _features(self) -> Self:
        size = observation_size(len(self.portfolio.assets), self.environment.look_back)
        if self.model.features != size:
            raise ValueError(
                f"model.features: {self.model.features}: {len(self.portfolio.assets)} assets with look_back "
                f"{self.environment.look_back} make {size}"
            )
        return self


def load_production(path: Path | str) -> ProductionConfig:
    """Return the configuration. Raises BadInput with one line: file, key, value, what is allowed."""
    content = _read(Path(path))
    try:
        return ProductionConfig.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise BadInput(f"{path}: {_line(errors[0])}{more}") from error


def _read(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path}: content: must be sections ({', '.join(ProductionConfig.model_fields)})")
    return content


def _line(error: Any) -> str:
    """Return `key path: value: what is allowed` for one of pydantic's errors."""
    kind, value = error["type"], error["input"]
    # Unions and tuples add their own parts to the path; a person knows the keys.
    where = ".".join(str(part) for part in error["loc"] if str(part) not in ("str", "constrained-str", "float"))
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        shown = "" if isinstance(value, dict) else f"{value!r}: "
        return f"{where}: {shown}{text}" if where else text
    if kind == "extra_forbidden":
        return f"{where}: unknown key{_suggest(error['loc'])}"
    if kind == "missing":
        return f"{where}: is missing"
    text = str(error["msg"])
    text = text.replace("Input should be a valid integer", "must be a whole number")
    text = text.replace("Input should be a valid tuple", "must be a list in [ ]")
    text = text.replace("Input should be a valid ", "must be a ").replace("Input should be ", "must be ")
    if isinstance(value, str) and kind in ("float_type", "int_type"):
        text += " (YAML reads 1e-4 as text: write 0.0001)" if "e" in value.lower() else " (without quotes)"
    if where.endswith("trade_time") and isinstance(value, int):
        text = 'must be a time in quotes ("09:20"): without them YAML reads a number'
    return f"{where}: {value!r}: {text}"


def _suggest(location: tuple[str | int, ...]) -> str:
    section: Any = ProductionConfig
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    known = list(section.model_fields)
    close = get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; allowed: {', '.join(known)}"
