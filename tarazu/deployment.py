"""From a deployment's directory to a set-up daemon: reads the two configuration files and the data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from daemon.settings import DaemonSettings, ExecutionSettings, Paths
from market.errors import BadInput
from market.instrument import Instrument
from market.money import Paise, rupees

if TYPE_CHECKING:
    from daemon.messages import HistoryLoaded
    from market.calendar import Calendar
    from market.corporate_actions import ActionTable
    from risk.limits import RiskLimits
    from strategies.production_config import ProductionConfig
    from strategies.protocol import Strategy

Mode = Literal["paper", "live", "replay"]
# History that a decision may look back on, beyond the strategy's own need: room for missing sessions.
_SPARE_ROWS = 10


def open_calendar(root: Path) -> Calendar:
    """Return the calendar with the deployment's own overrides: a holiday declared late, next year's list."""
    from market.calendar import Calendar

    overrides = root / "config" / "calendar_overrides.yaml"
    return Calendar.load(overrides=overrides if overrides.exists() else None)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A directory with config/, data/, models/, logs/ and state/."""

    paths: Paths
    production: ProductionConfig
    limits: RiskLimits
    calendar: Calendar

    @classmethod
    def open(cls, root: Path, *, mode: Mode) -> Deployment:
        """Read and check the configuration. Raises BadInput naming file, key, value and what is allowed."""
        from risk.limits import load_limits
        from strategies.production_config import load_production

        if not root.is_dir():
            raise BadInput(f"--root {root}: there is no such directory; name the deployment's directory")
        paths = Paths(root)
        production = load_production(paths.production_config)
        limits = load_limits(paths.risk_limits, mode=mode)
        limits.check_universe(len(production.portfolio.assets))
        offset, collar = production.deployment.limit_offset, limits.execution.cancel_if_slippage_exceeds
        if offset > collar:
            raise BadInput(
                f"{paths.production_config}: deployment.limit_offset: {offset:g}: must be at most "
                f"execution.cancel_if_slippage_exceeds of {paths.risk_limits} ({collar:g}), or every order is refused"
            )
        return cls(paths, production, limits, open_calendar(root))

    def settings(
        self, *, mode: Mode, symbols: tuple[str, ...] | None = None, opening_cash: Paise | None = None, settle: int = 0
    ) -> DaemonSettings:
        """Return the daemon's settings; symbols and cash default to the configuration's."""
        production = self.production
        deployment = production.deployment
        chosen = symbols or tuple(production.portfolio.assets)
        hour, minute = (int(part) for part in deployment.trade_time.split(":"))
        return DaemonSettings(
            portfolio=production.portfolio.name,
            mode=mode,
            instruments=tuple(Instrument(symbol) for symbol in chosen),
            opening_cash=rupees(deployment.capital.initial) if opening_cash is None else opening_cash,
            execution=ExecutionSettings(
                limit_offset=deployment.limit_offset,
                band=production.portfolio.rebalance.threshold,
                # Both files have a say in how long an order may live; the shorter one holds.
                timeout_minutes=min(deployment.cancel_after_minutes, self.limits.execution.order_timeout_minutes),
                max_order_fraction=self.limits.execution.max_order_size_percent,
            ),
            trade_time=time(hour, minute),
            slippage_bps=production.environment.slippage_bps,
            look_back=production.environment.look_back,
            settle_seconds=settle,
        )

    def strategy(
        self, *, name: str | None, model: Path | None, symbols: tuple[str, ...], today: date
    ) -> tuple[Strategy, str]:
        """Return (strategy, model version): a named baseline, a given model directory, or the active model."""
        from strategies.artifact import active_version, load_artifact
        from strategies.baselines import make_strategy

        look_back = self.production.environment.look_back
        if name is not None and model is not None:
            raise BadInput("--strategy and --model exclude each other; give one")
        if name is not None:
            return make_strategy(name, symbols, look_back), ""
        directory = model
        if directory is None:
            version = active_version(self.paths.models)
            if version is None:
                raise BadInput(
                    f"{self.paths.models}: no model is active; train one (tarazu train), or use --strategy equal_weight"
                )
            directory = self.paths.models / version
        return load_artifact(directory, symbols=symbols, look_back=look_back, today=today), directory.name

    @property
    def history_rows(self) -> int:
        """Return how many daily closes before its first session a daemon starts from."""
        return self.production.environment.look_back + 1 + _SPARE_ROWS

    def history(self, symbols: tuple[str, ...]) -> Callable[[date], HistoryLoaded | None]:
        """Return a function of a date that gives the daily closes before it, None when there is no data file.

        The file is adjusted for every split and bonus issue up to the last day in it, and for none after that day.
        """
        from daemon.replay import history_message
        from market.store import read_csv

        def before(day: date) -> HistoryLoaded | None:
            if not self.paths.market_data.exists():
                return None
            bars = read_csv(self.paths.market_data).select(symbols)
            return history_message(bars, day, self.history_rows, actions=table)

        table = self.actions()
        return before

    def actions(self) -> ActionTable:
        """Return the deployment's splits and bonus issues; none when it has no file of them."""
        from market.corporate_actions import ActionTable, read_actions

        path = self.paths.corporate_actions
        return read_actions(path) if path.exists() else ActionTable()
