"""Stress: what must hold whatever an adversary asks for, on made-up bars and on the worst real ones."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from brokers.charges import DeliveryCharges
from daemon.messages import Decided, OrdersIntended, Outcome
from daemon.replay import history_message, replay
from daemon.stress import CALM_SESSIONS, WINDOWS, Ending, Loss, Setup, Window, stress, uncovered
from market.calendar import Calendar
from market.errors import BadInput
from market.store import daily_bars, read_csv
from market.synthetic import generate
from strategies.adversaries import ADVERSARIES, make_adversary
from tarazu.deployment import Deployment

PRODUCTION = Path(__file__).resolve().parents[2] / "production"
FIRST, LAST = date(2023, 3, 1), date(2023, 9, 29)
WINDOW = Window("made up", FIRST, LAST)
STOPPED_WHOLE = ("not_a_number", "negative", "sum_three")
SLACK = 1e-9  # the projection works in floats


@pytest.fixture(scope="module")
def deployment():
    return Deployment.open(PRODUCTION, mode="replay")


@pytest.fixture(scope="module")
def setup(deployment):
    settings = deployment.settings(mode="replay")
    bars = generate(11, settings.symbols, date(2023, 1, 2), LAST, Calendar.load())
    # A calm market shows little: every return three times as large, the shape of bars kept.
    base = bars.close[0]
    columns = {name: base * (getattr(bars, name) / base) ** 3 for name in ("open", "high", "low", "close")}
    wild = daily_bars(bars.symbols, bars.days, columns | {"volume": bars.volume})
    return Setup(settings, wild, deployment.calendar, deployment.limits, deployment.history_rows)


@pytest.fixture(scope="module")
def runs(setup):
    (window,) = stress(setup, [WINDOW]).windows
    return {run.strategy: run for run in window.runs}


def test_every_adversary_runs_and_something_trips(runs):
    assert set(runs) == set(ADVERSARIES)
    assert runs["all_in_one"].gate.breaker_trips and runs["flip_daily"].gate.breaker_trips


@pytest.mark.parametrize(
    ("name", "outcome", "code"),
    [
        ("not_a_number", "hold", "STRATEGY_INVALID"),
        ("negative", "refused", "TARGET_NEGATIVE"),
        ("sum_three", "refused", "TARGET_ABOVE_ONE"),
    ],
)
def test_what_is_impossible_never_leads_to_an_order_and_the_record_says_who_stopped_it(runs, name, outcome, code):
    gate = runs[name].gate
    asked = sum(count for what, count in gate.decisions.items() if what != "clipped")
    # The even book of the first sessions is all that was ever traded; from the turn on, nothing.
    assert gate.decisions["approved"] == CALM_SESSIONS and gate.orders == runs["negative"].gate.orders > 0
    asked -= CALM_SESSIONS
    assert gate.decisions[outcome] == asked > 100
    assert set(gate.reasons) == {"approved", outcome}
    # Three such answers in a row are a model that cannot be relied on: the breaker is a second reason from then on.
    assert gate.reasons[outcome][code] == asked and set(gate.reasons[outcome]) <= {code, "BREAKER_LATCHED"}
    assert "model_health" in {trip.name for trip in gate.breaker_trips}
    assert runs[name].with_gate == runs["negative"].with_gate, "what is held stays, whatever was asked"


def test_the_worst_day_with_the_gate_is_better_than_without(runs):
    for name, run in runs.items():
        if name == "not_a_number":
            assert run.without_gate == Loss(Ending.NOT_A_NUMBER)
        elif name != "negative":  # short of one stock and long of the others is a hedge, and may lose less on a day
            assert run.with_gate.worst_day > run.without_gate.worst_day


def test_a_trip_is_recorded_with_what_it_saw_and_its_session(runs):
    for trip in runs["all_in_one"].gate.breaker_trips:
        assert trip.used >= trip.limit - 1e-9 and FIRST <= trip.session <= LAST


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize("approvals", [True, False])
def test_no_approved_weight_breaks_a_hard_limit(setup, name, approvals):
    limits = setup.limits.position_limits
    decisions, orders = [], []

    def watch(core, message, envelope):
        if isinstance(message, Decided):
            decisions.append(message)
        elif isinstance(message, OrdersIntended):
            orders.extend(message.orders)

    replay(
        settings=setup.settings,
        bars=setup.bars.slice(FIRST, LAST),
        calendar=setup.calendar,
        limits=setup.limits,
        strategy=make_adversary(name, setup.settings.symbols, setup.settings.look_back),
        start=FIRST,
        end=LAST,
        opens=setup.bars,
        history=history_message(setup.bars, FIRST, setup.history_rows),
        approvals=approvals,
        observer=watch,
    )
    approved = [decision for decision in decisions if decision.outcome is Outcome.APPROVED]
    assert len(decisions) > 100 and bool(approved) == bool(orders) == (name not in STOPPED_WHOLE)
    for decision in approved:
        weights, current = np.array(decision.approved), np.array(decision.current)
        assert weights.min() >= 0.0 and weights.max() <= limits.max_weight_per_stock + SLACK
        assert weights.sum() <= 1.0 - limits.min_cash_reserve + SLACK
        codes = {reason.split(":")[0].split(" ")[0] for reason in decision.reasons}
        if "RELAXED_TURNOVER" not in codes:
            assert np.abs(weights - current).sum() / 2 <= limits.max_daily_turnover + SLACK


def test_the_same_bars_give_the_same_report(setup):
    short = [Window("short", FIRST, date(2023, 3, 31))]
    assert stress(setup, short).to_json() == stress(setup, short).to_json()


def test_windows_that_the_bars_do_not_cover_are_skipped_by_name(setup):
    report = stress(setup, [WINDOWS[0], Window("march", FIRST, date(2023, 3, 31))])
    skipped, played = report.windows
    assert "no complete bars on 2008-01-01" in skipped.skipped and not skipped.runs
    assert not played.skipped and len(played.runs) == len(ADVERSARIES) and played.charges_assumed_before is None


def test_a_window_of_which_a_part_is_missing_counts_as_not_covered(setup):
    part = replace(setup, bars=setup.bars.slice(FIRST, date(2023, 9, 1)), source="part.csv")
    assert "part.csv" in uncovered(WINDOW, part) and str(LAST) in uncovered(WINDOW, part)
    with pytest.raises(BadInput, match=r"part\.csv: .*allowed: 2008-01-01 to 2008-12-31"):
        stress(part)


def test_progress_hears_of_every_run(setup):
    heard = []
    stress(setup, [Window("march", FIRST, date(2023, 3, 31))], progress=lambda *pair: heard.append(pair))
    assert heard == [(done, 5) for done in range(1, 6)]


def test_ruin_is_reported_as_all_of_it_or_worse():
    loss = Loss.of([FIRST, LAST], [900.0, -300.0], initial=1000.0)
    assert loss.ending is Ending.RUIN and loss.worst_session == LAST
    assert loss.total_return == pytest.approx(-1.3) and loss.max_drawdown == pytest.approx(1.3)


def test_on_the_real_crashes_the_gate_holds_and_every_window_says_what_it_rests_on(deployment, real_data):
    settings = deployment.settings(mode="replay")
    bars = read_csv(real_data / "nse_banks_daily.csv").select(settings.symbols)
    report = stress(Setup(settings, bars, deployment.calendar, deployment.limits, deployment.history_rows))
    assumed = [window.charges_assumed_before for window in report.windows]
    assert not any(window.skipped for window in report.windows)
    assert assumed == [date(2015, 1, 1), date(2015, 1, 1), None, None]
    limits = deployment.limits.position_limits
    for window in report.windows:
        for run in window.runs:
            assert run.gate.largest_approved_weight <= limits.max_weight_per_stock + SLACK
            assert run.gate.largest_approved_sum <= 1.0 - limits.min_cash_reserve + SLACK
            if run.strategy in STOPPED_WHOLE:
                assert run.gate.decisions["approved"] == CALM_SESSIONS
            else:
                assert run.with_gate.worst_day > run.without_gate.worst_day
    tripped = {trip.session for run in report.windows[3].runs for trip in run.gate.breaker_trips}
    assert date(2024, 6, 4) in tripped
    assert DeliveryCharges().assumed_before(report.windows[0].start) is None
