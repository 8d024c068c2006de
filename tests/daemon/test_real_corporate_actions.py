"""Real splits and bonus issues, as they traded: no breaker takes one for a loss, and every one that should still sees."""

import csv
from datetime import date

import numpy as np
import pytest

from brokers.charges import COVERED_FROM, DeliveryCharges
from daemon.book_changes import NO_ACTIONS
from daemon.messages import BreakerTripped
from daemon.replay import history_message, replay
from daemon.settings import DaemonSettings
from market.calendar import Calendar
from market.corporate_actions import read_actions
from market.instrument import Instrument
from market.money import rupees
from market.store import daily_bars, read_csv
from risk.limits import load_limits
from risk.schema import Monitoring
from strategies.baselines import make_strategy

CALENDAR = Calendar.load()
LIMITS = load_limits("production/config/risk_limits.yaml", mode="replay")
EVENTS = {
    ("KOTAKBANK", date(2010, 9, 13)),
    ("HDFCBANK", date(2011, 7, 14)),
    ("AXISBANK", date(2014, 7, 28)),
    ("SBIN", date(2014, 11, 20)),
    ("ICICIBANK", date(2014, 12, 4)),
    ("KOTAKBANK", date(2015, 7, 8)),
    ("ICICIBANK", date(2017, 6, 20)),
    ("HDFCBANK", date(2019, 9, 19)),
}


class EarlyCharges(DeliveryCharges):
    """The charges of the first covered day for the years before: the point here is prices."""

    def on(self, session):
        return super().on(max(session, COVERED_FROM))


@pytest.fixture(scope="module")
def table(real_data):
    return read_actions(real_data / "corporate_actions.csv")


@pytest.fixture(scope="module")
def slices(real_data):
    """As-traded bars by (symbol, ex date)."""
    rows = {}
    with (real_data / "corporate_action_example_raw.csv").open() as stream:
        for row in csv.DictReader(stream):
            key = row["symbol"], date.fromisoformat(row["event"][-10:])
            rows.setdefault(key, []).append(row)
    return {
        (symbol, ex): daily_bars(
            (symbol,),
            np.array([row["date"] for row in found], dtype="datetime64[D]"),
            {
                name: np.array([[float(row[name])] for row in found])
                for name in ("open", "high", "low", "close", "volume")
            },
        )
        for (symbol, ex), found in rows.items()
    }


@pytest.fixture(scope="module")
def adjusted(real_data):
    return read_csv(real_data / "nse_banks_daily.csv")


# Believes any price, so that a missing action reaches the breakers.
CREDULOUS = LIMITS.model_copy(update={"monitoring": Monitoring(check_data_quality=False)})


def hold(bars, actions=NO_ACTIONS, *, first=None, last=None, as_traded=True, limits=LIMITS):
    """Buy and hold over bars; return sessions, daily returns by session, and (session, breaker) of each trip."""
    trips = []

    def observer(core, message, envelope):
        if isinstance(message, BreakerTripped):
            trips.append((core.state.session, message.name))

    first, last = first or bars.days[1].item(), last or bars.days[-1].item()
    result = replay(
        settings=DaemonSettings("test", "replay", tuple(map(Instrument, bars.symbols)), rupees(5_000_000)),
        bars=bars.slice(first, last),
        calendar=CALENDAR,
        limits=limits,
        strategy=make_strategy("buy_and_hold", bars.symbols, 30),
        start=first,
        end=last,
        opens=bars,
        history=history_message(bars, first, 41, actions=actions, as_traded=as_traded),
        charges=EarlyCharges.default(),
        actions=actions,
        observer=observer,
    )
    line = np.array([result.initial_equity, *result.equity])
    return dict(zip(result.sessions, line[1:] / line[:-1] - 1.0, strict=True)), trips, result


def test_the_slices_are_those_of_the_table(slices, table):
    assert set(slices) == EVENTS <= {(action.symbol, action.ex_date) for action in table.actions}


@pytest.mark.parametrize(("symbol", "ex"), sorted(EVENTS, key=lambda event: event[1]), ids=str)
def test_held_through_a_real_action_the_account_is_as_on_adjusted_prices(slices, adjusted, table, symbol, ex):
    bars = slices[symbol, ex]
    returns, trips, result = hold(bars, table)
    smooth = adjusted.select((symbol,)).slice(bars.days[0].item(), bars.days[-1].item())
    expected, expected_trips, _ = hold(smooth)
    assert trips == expected_trips
    assert ex not in {session for session, _ in trips}
    assert returns[ex] == pytest.approx(expected[ex], abs=2e-4)
    assert np.allclose(list(returns.values()), list(expected.values()), atol=5e-4)
    # The strategy sees closes without a step.
    closes, true = result.core_state.view.closes[:, 0], smooth.close[:, 0]
    assert np.allclose(closes[1:] / closes[:-1], true[1:] / true[:-1], atol=2e-4)


@pytest.mark.parametrize(("symbol", "ex"), sorted(EVENTS, key=lambda event: event[1]), ids=str)
def test_bought_just_before_a_real_action_it_trips_nothing_and_would_without_the_table(slices, table, symbol, ex):
    bars = slices[symbol, ex]
    # Bought in the two sessions before: the bonus of 1:10 takes 9 % off the price, less than the stock had risen earlier.
    first = bars.days[int(np.searchsorted(bars.days, np.datetime64(ex))) - 2].item()
    _, trips, _ = hold(bars, table, first=first, last=ex)
    assert trips == []
    _, blind, _ = hold(bars, first=first, last=ex, limits=CREDULOUS)
    names = {name for session, name in blind if session == ex}
    assert "single_stock_loss" in names
    # Four tenths of the account, halved or worse, are a false loss of the account as well.
    assert ({"daily_loss", "drawdown"} <= names) == (symbol != "ICICIBANK" or ex.year != 2017)


@pytest.mark.parametrize(("symbol", "ex"), sorted(EVENTS, key=lambda event: event[1]), ids=str)
def test_without_the_table_a_price_that_is_halved_or_worse_is_not_believed(slices, symbol, ex):
    bars = slices[symbol, ex]
    first = bars.days[int(np.searchsorted(bars.days, np.datetime64(ex))) - 2].item()
    _, _, result = hold(bars, first=first, last=ex)
    row = int(np.searchsorted(bars.days, np.datetime64(ex)))
    halved = bars.close[row, 0] < 0.5 * bars.close[row - 1, 0]
    assert set(result.core_state.view.suspect) == ({symbol} if halved else set())
    assert (result.core_state.equity() is None) == halved, "the account's value is not known until a person looks"


def test_a_real_fall_of_eight_percent_trips_and_names_the_stock(real_data, table):
    raw = read_csv(real_data / "nse_banks_daily_raw.csv.gz")
    # HDFCBANK after its results: from 1,679 to 1,537 in a day, on as-traded prices with the table at hand.
    fall = date(2024, 1, 17)
    _, trips, result = hold(raw.slice(date(2023, 11, 1), fall), table, first=date(2024, 1, 8), last=fall)
    assert trips == [(fall, "single_stock_loss")]
    (latch,) = result.core_state.guard.board.latches
    assert latch.detail == "HDFCBANK" and latch.used >= 0.08
