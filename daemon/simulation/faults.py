"""The faults that a simulated world has, with their rates, and where in the catalogue of faults each belongs.

A rate is the chance at each occasion: of an order, a report, a read, a bar, or once a day. `full` is what `make soak` runs:
far more goes wrong in it than in any real month. Faults that need a real kernel, disk or file are tested elsewhere;
docs/simulation.md lists them all with the place.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """`code` in the catalogue (docs/simulation.md), the occasion that it strikes at, and its rate in profile `full`."""

    name: str
    code: str
    occasion: str
    rate: float
    what: str


FAULTS: Final[tuple[Fault, ...]] = (
    # Orders and answers.
    Fault("lost_request", "B1", "order", 0.015, "the request never arrives, and nobody says so"),
    Fault("lost_answer", "B1", "order", 0.020, "the order lives, and its answer is lost"),
    Fault("server_error", "B10", "order", 0.010, "a 502 to the request, which may have arrived or not"),
    Fault("throttled", "B9", "order", 0.008, "a 429: not placed"),
    Fault("refused", "B7", "order", 0.010, "a definite refusal"),
    Fault("slow_answer", "B12", "order", 0.020, "the answer takes minutes"),
    Fault("cancel_lost", "B12", "cancel", 0.05, "the cancel never arrives"),
    Fault("cancel_late", "B17", "cancel", 0.10, "the cancel takes its time, and the order may fill first"),
    # The stream of updates.
    Fault("fill_doubled", "B3", "report", 0.05, "an update comes twice"),
    Fault("fill_late", "B5", "report", 0.12, "an update comes minutes late, after later ones"),
    Fault("fill_lost", "B4", "report", 0.03, "an update never comes"),
    Fault("stream_lost", "B4", "day", 0.05, "the stream of updates is gone for a while, and the adapter says so"),
    # Reads.
    Fault("read_failed", "B16", "read", 0.03, "a read is answered with an error, or with nonsense"),
    Fault("read_slow", "P11", "read", 0.01, "a read is not answered in time"),
    Fault("book_lags", "B2", "day", 0.10, "the order and trade books show what was true two minutes ago"),
    Fault("broker_away", "P11", "day", 0.04, "the broker answers nothing for a while"),
    Fault("session_expired", "B8", "day", 0.03, "the broker wants a new login; reads and orders are refused"),
    # The feed.
    Fault("feed_silent", "M1", "day", 0.05, "no bars for hours, the connection stays"),
    Fault("feed_frozen", "M2", "bar", 0.01, "the bar before again, with a new time"),
    Fault("bar_old", "M2", "bar", 0.01, "yesterday's bar is served as news"),
    Fault("bar_late", "M13", "bar", 0.02, "a bar comes after later ones"),
    Fault("bar_doubled", "M13", "bar", 0.02, "a bar comes twice"),
    Fault("bar_early", "M3", "bar", 0.01, "a bar of the future"),
    Fault("bar_missing", "M4", "bar", 0.02, "one instrument is not in the bar"),
    Fault("bar_impossible", "M6", "bar", 0.01, "a price that is no number, negative, or a low above the high"),
    Fault("bar_spike", "M7", "bar", 0.01, "one wrong print"),
    Fault("feed_lost", "M13", "day", 0.05, "the feed's connection is lost; what was missed comes afterwards"),
    # The market.
    Fault("crash", "R6", "day", 0.08, "prices fall by more than a breaker's limit"),
    Fault("corporate_action", "M5", "day", 0.03, "a split or a bonus issue overnight"),
    Fault("holiday_declared", "M8", "day", 0.02, "the exchange stays closed on a session of the calendar"),
    Fault("market_halts", "M12", "day", 0.02, "the exchange stops in the middle of a session"),
    Fault("thin_market", "B6", "day", 0.25, "so little volume that orders fill in part"),
    # The strategy.
    Fault("target_impossible", "A3", "day", 0.03, "weights that are no numbers, or of the wrong number"),
    Fault("target_extreme", "A6", "day", 0.05, "everything in one share, negative, or three times the money"),
    Fault("target_late", "A7", "day", 0.03, "the answer comes after its deadline"),
    Fault("strategy_breaks", "A7", "day", 0.02, "the strategy raises"),
    Fault("model_swapped", "A8", "day", 0.03, "another model while a decision is made"),
    # The process and its machine.
    Fault("killed", "P1", "day", 0.20, "kill -9 at a contact with the world (also P2, P3)"),
    Fault("killed_anywhere", "P15", "day", 0.10, "kill -9 between any two callbacks"),
    Fault("power_cut", "D4", "day", 0.03, "the machine dies, and a commit with it"),
    Fault("outage", "P15", "day", 0.04, "the machine is gone for hours, perhaps over the close"),
    Fault("asked_to_stop", "P7", "day", 0.06, "SIGTERM at any moment, in the middle of a batch too"),
    Fault("component_breaks", "P12", "day", 0.02, "a part of the daemon ends with an error"),
    Fault("suspended", "C4", "day", 0.03, "the machine sleeps, perhaps over the time of the rebalance"),
    Fault("started_late", "C5", "day", 0.03, "the daemon is started in the middle of the session"),
    Fault("clock_wrong", "C1", "day", 0.03, "the clock is hours off when the process starts"),
    Fault("slow_disk", "D6", "commit", 0.004, "a commit takes seconds"),
    Fault("disk_full", "D1", "day", 0.02, "no commit succeeds any more, until the evening"),
    # People.
    Fault("stop_pressed", "H1", "day", 0.06, "an emergency stop"),
    Fault("stop_again", "H1", "stop", 0.30, "another stop, of any mode, soon after the first"),
    Fault("resume_early", "H3", "day", 0.05, "a resume without a summary, or before the books are compared"),
    Fault("resume_guessed", "H3", "resume", 0.20, "a resume with another nonce than the one that was shown"),
    Fault("nobody_approves", "H6", "day", 0.15, "nobody looks at what has tripped"),
    Fault("slot_again", "R5", "day", 0.05, "the same decision is due again"),
    Fault("reconcile_again", "B4", "day", 0.10, "somebody asks for a reconciliation at a bad moment"),
    Fault("traded_by_hand", "B14", "day", 0.05, "the owner trades in the broker's own app, without telling"),
    Fault("cash_moved", "H4", "day", 0.12, "money is paid in or taken out while orders are on their way"),
)

PROFILES: Final[dict[str, float]] = {"none": 0.0, "light": 0.25, "full": 1.0, "harsh": 3.0}


def rates(profile: str) -> dict[str, float]:
    """Return fault -> rate of a profile. Raises KeyError for an unknown one."""
    factor = PROFILES[profile]
    return {fault.name: min(1.0, fault.rate * factor) for fault in FAULTS}
