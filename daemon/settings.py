"""How one daemon is set up: what does not change while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import time
from pathlib import Path
from typing import Final

from daemon.agenda import REBALANCE, Slot
from market.instrument import Instrument
from market.money import Paise

# A calendar that ends sooner than in so many days is told, by the daemon and by `tarazu doctor`.
HORIZON_DAYS: Final = 30
# How long a machine that has other work, too, may keep a played feed waiting.
_REAL_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """How orders are made and watched. Fractions of price or equity; minutes for time."""

    limit_offset: float = 0.005
    band: float = 0.01
    timeout_minutes: float = 30.0
    max_order_fraction: float = 0.15
    cancel_grace_seconds: int = 60


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """When the broker's books are read although nothing has gone wrong. Zero minutes: not by the timer.

    Always, whatever this says: at start, after a reconnect, when an order is unknown, when a person asks, at the close.
    """

    every_minutes: float = 5.0
    before_planning: bool = True
    after_execution: bool = True
    # With a broker that does not tell of fills by itself, or while its stream is gone: as long as orders are open.
    poll_seconds: float = 5.0


# A replay's broker is a part of the replay: its books cannot say what the ledger was not told in the same instant.
ONLY_IF_NEEDED: Final = ReconcileSettings(every_minutes=0.0, before_planning=False, after_execution=False)


@dataclass(frozen=True, slots=True)
class DeadManSettings:
    """When the dead-man rules speak (docs/status.md).

    `silence_seconds`: the longest time without a bar in continuous trading; 0: three bars of the feed and a minute.
    `first_bar_minutes`: when, after the open, a day without any bar counts as a holiday that the calendar does not know.
    `least_seconds`: no silence of feed or broker shorter than this counts.
    The disk's limits are in bytes or as a share of the disk, whichever is less: a small disk is small on purpose.
    """

    silence_seconds: float = 0.0
    least_seconds: float = 0.0
    frozen_bars: int = 3
    first_bar_minutes: float = 15.0
    closed_day_bars: int = 3
    broker_lost_seconds: float = 120.0
    low_disk_bytes: int = 200 * 2**20
    low_disk_share: float = 0.02
    least_disk_bytes: int = 50 * 2**20
    least_disk_share: float = 0.005
    clock_jump_seconds: float = 2.0
    horizon_days: int = HORIZON_DAYS

    def at_speed(self, speed: float) -> DeadManSettings:
        """Return the settings for a feed that is played faster: half a second of the machine's may be minutes there."""
        least = _REAL_SECONDS * speed if speed > 1.0 else 0.0
        return replace(self, least_seconds=least, first_bar_minutes=max(self.first_bar_minutes, least / 60.0))


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """One portfolio's daemon."""

    portfolio: str
    mode: str
    instruments: tuple[Instrument, ...]
    opening_cash: Paise
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    trade_time: time = time(9, 20)
    window_minutes: int = 60
    settle_seconds: int = 0
    every_sessions: int = 1
    # Of the paper broker's fills, in basis points; on record, so that a report's baselines get the same.
    slippage_bps: float = 0.0
    look_back: int = 30
    reconcile: ReconcileSettings | None = None
    dead_man: DeadManSettings = field(default_factory=DeadManSettings)

    @property
    def reconciling(self) -> ReconcileSettings:
        """When the books are read; unless it is set, a replay does so only where something went wrong."""
        if self.reconcile is not None:
            return self.reconcile
        return ONLY_IF_NEEDED if self.mode == "replay" else ReconcileSettings()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The ordered universe."""
        return tuple(instrument.symbol for instrument in self.instruments)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The schedule: one rebalance a session at the configured time."""
        return (Slot(REBALANCE, self.trade_time, self.window_minutes, self.settle_seconds),)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a deployment keeps its things, all below one directory."""

    root: Path

    @property
    def state(self) -> Path:
        """Journal, paper broker, latch, lock, sockets."""
        return self.root / "state"

    @property
    def journal(self) -> Path:
        """The journal file."""
        return self.state / "journal.sqlite"

    @property
    def paper_broker(self) -> Path:
        """The paper broker's own durable state."""
        return self.state / "paper_broker.sqlite"

    @property
    def heartbeat(self) -> Path:
        """What the loop writes every second; the guardian reads it."""
        return self.state / "heartbeat"

    @property
    def broker_lock(self) -> Path:
        """Who keeps the paper broker's state: a broker process, or a daemon with the broker inside."""
        return self.state / "broker.lock"

    @property
    def broker_socket(self) -> Path:
        """Where a broker process listens when it is given no port."""
        return self.state / "broker.sock"

    @property
    def latch(self) -> Path:
        """Directory of the stop latch."""
        return self.state / "latch"

    @property
    def lock(self) -> Path:
        """Single-instance lock."""
        return self.state / "daemon.lock"

    @property
    def control_socket(self) -> Path:
        """The rich control API."""
        return self.state / "control.sock"

    @property
    def stop_socket(self) -> Path:
        """The stop plane."""
        return self.state / "stop.sock"

    @property
    def stop_file(self) -> Path:
        """Whoever puts a file here stops the daemon."""
        return self.state / "STOP"

    @property
    def models(self) -> Path:
        """Model versions."""
        return self.root / "models"

    @property
    def market_data(self) -> Path:
        """The daily bars."""
        return self.root / "data" / "latest_market_data.csv"

    @property
    def corporate_actions(self) -> Path:
        """Splits and bonus issues; optional."""
        return self.root / "data" / "corporate_actions.csv"

    @property
    def risk_limits(self) -> Path:
        """Risk limits."""
        return self.root / "config" / "risk_limits.yaml"

    @property
    def production_config(self) -> Path:
        """Model, training and deployment configuration."""
        return self.root / "config" / "production.yaml"

    def logs(self, mode: str) -> Path:
        """Directory of a mode's log files."""
        return self.root / "logs" / {"paper": "paper_trading", "live": "live_trading"}.get(mode, mode)
