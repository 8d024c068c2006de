"""The training market's accounting, against arithmetic done by hand."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from brokers.charges import DeliveryCharges
from market.errors import BadInput
from market.money import Paise
from risk.approval import Side
from training.portfolio_market import PortfolioMarket

LOOSE = {"max_weight_per_stock": 1.0, "min_weight_per_stock": 0.0, "max_daily_turnover": 1.0, "min_cash_reserve": 0.0}
RATES = DeliveryCharges.default()


def flat(value, sessions=10, n=1):
    return np.full((sessions, n), float(value))


def days_after(market, k=0):
    return market.tables.days[int(market.t[k])]


@pytest.fixture
def one_stock(make_bars, make_config, make_limits):
    """A market of one stock whose closes and opens a test chooses; two sessions of look-back, no limits but cash."""

    def make(closes, opens=None, *, slippage=0.0, band=0.01, start="2023-02-01", **limits):
        config = make_config(n=1, look_back=2, band=band, environment={"slippage_bps": slippage})
        return PortfolioMarket(make_bars(closes, opens, start=start), config, make_limits(**LOOSE | limits))

    return make


def test_a_purchase_pays_the_open_and_its_charges(one_stock):
    closes, opens = flat(100.0), flat(100.0)
    opens[3], closes[3] = 100.30, 102.0
    market = one_stock(closes, opens)
    market.step(np.array([[0.5]]))
    # Half of Rs 1,00,000 less 0.25 % of the trade for its costs is 49,937.50: 499 shares at the last close of 100, in
    # slices of at most 15 % of the account at the limit of 100.50.
    limit, shares = 10_050, 499
    parts = [125, 125, 125, 124]
    assert 1_500_000 // limit == 149
    fee = sum(RATES.on(date(2023, 2, 6)).total(Side.BUY, Paise(part * 10_030), False) for part in parts)
    assert market.shares[0].tolist() == [shares]
    assert market.cash[0] == 10_000_000 - shares * 10_030 - fee
    assert market.charges[0] == fee and market.traded[0] == shares * 10_030
    assert market.equity[0] == market.cash[0] + shares * 10_200
    assert days_after(market) == date(2023, 2, 6)


def test_a_sale_pays_the_depository_once_per_day(one_stock):
    market = one_stock(flat(100.0))
    market.step(np.array([[0.5]]))
    cash, paid = int(market.cash[0]), int(market.charges[0])
    market.step(np.array([[0.0]]))
    rates = RATES.on(date(2023, 2, 7))
    limit = 9_950
    most = int(market.opening * 0.15) // limit
    count = -(-499 // most)
    size, extra = divmod(499, count)
    parts = [size + 1] * extra + [size] * (count - extra)
    fee = sum(rates.total(Side.SELL, Paise(part * 10_000), k == 0) for k, part in enumerate(parts))
    assert len(parts) > 1 and market.shares[0].tolist() == [0]
    assert market.cash[0] == cash + 499 * 10_000 - fee
    assert market.charges[0] == paid + fee


def test_an_open_beyond_the_limit_does_not_fill(one_stock):
    opens = flat(100.0)
    opens[3], opens[4] = 100.51, 100.50
    market = one_stock(flat(100.0), opens)
    market.step(np.array([[0.5]]))
    assert market.shares[0, 0] == 0 and market.cash[0] == market.opening
    market.step(np.array([[0.5]]))
    assert market.shares[0, 0] == 499


def test_a_sale_below_its_limit_does_not_fill(one_stock):
    opens = flat(100.0)
    opens[4], opens[5] = 99.49, 99.50
    market = one_stock(flat(100.0), opens)
    market.step(np.array([[0.5]]))
    market.step(np.array([[0.0]]))
    assert market.shares[0, 0] == 499
    market.step(np.array([[0.0]]))
    assert market.shares[0, 0] == 0


def test_slippage_worsens_the_price_but_never_beyond_the_limit(one_stock):
    opens = flat(100.0)
    opens[4] = 99.51
    market = one_stock(flat(100.0), opens, slippage=10.0)
    market.step(np.array([[0.2]]))
    assert market.traded[0] == 199 * 10_010
    before = int(market.traded[0])
    market.step(np.array([[0.0]]))
    assert market.traded[0] - before == 199 * 9_950


def test_sales_are_made_before_purchases_and_fund_them(make_bars, make_config, make_limits):
    bars = make_bars(flat(100.0, n=2))
    market = PortfolioMarket(bars, make_config(n=2, look_back=2), make_limits(**LOOSE))
    market.step(np.array([[0.98, 0.0]]))
    market.step(np.array([[0.0, 0.98]]))
    assert market.shares[0, 0] == 0 and market.shares[0, 1] > 960
    assert 0 <= market.cash[0] < 0.03 * market.opening


def test_proceeds_of_shares_that_are_not_delivered_come_a_day_later(make_bars, make_config, make_limits):
    """Until January 2023 a purchase was delivered after two sessions: what is sold before pays the next day."""
    bars = make_bars(flat(100.0, n=2), start="2022-03-01")
    market = PortfolioMarket(bars, make_config(n=2, look_back=2), make_limits(**LOOSE))
    market.step(np.array([[0.98, 0.0]]))
    market.step(np.array([[0.0, 0.98]]))
    assert market.shares[0, 0] == 0 and market.shares[0, 1] < 30
    market.step(np.array([[0.0, 0.98]]))
    assert market.shares[0, 1] > 960


def test_a_change_within_the_band_is_not_traded(one_stock):
    market = one_stock(flat(100.0))
    market.step(np.array([[0.5]]))
    shares, charges = market.shares.copy(), market.charges.copy()
    market.step(np.array([[0.508]]))
    np.testing.assert_array_equal(market.shares, shares)
    np.testing.assert_array_equal(market.charges, charges)
    market.step(np.array([[0.512]]))
    assert market.shares[0, 0] > shares[0, 0]


def test_leaving_altogether_ignores_the_band(one_stock):
    market = one_stock(flat(100.0))
    market.step(np.array([[0.03]]))
    market.step(np.array([[0.012]]))
    assert market.shares[0, 0] == 12
    fallen = one_stock(np.vstack([flat(100.0, 4), flat(30.0, 6)]))
    fallen.step(np.array([[0.015]]))
    fallen.step(np.array([[0.0]]))
    fallen.step(np.array([[0.0]]))
    assert fallen.shares[0, 0] == 0


def test_an_order_below_the_minimum_value_is_not_sent(one_stock):
    market = one_stock(flat(100.0), band=0.0)
    market.step(np.array([[0.009]]))
    assert market.shares[0, 0] == 0
    market.step(np.array([[0.011]]))
    assert market.shares[0, 0] == 10


def test_the_gate_limits_what_is_asked_for(make_bars, make_config, make_limits):
    market = PortfolioMarket(make_bars(flat(100.0, n=3)), make_config(n=3, look_back=2), make_limits())
    result = market.step(np.array([[1.0, 0.0, 0.0]]))
    weights = market.weights()[0]
    assert weights[0] == pytest.approx(0.4, abs=0.002)
    assert 0.5 * weights.sum() <= 0.30 + 1e-9
    assert result.turnover[0] == pytest.approx(0.5)
    for _ in range(4):
        market.step(np.array([[1.0, 0.0, 0.0]]))
    weights = market.weights()[0]
    assert weights.max() <= 0.4 + 1e-9 and weights.min() >= 0.049
    assert market.cash[0] >= 0.05 * market.equity[0] - 1


def test_holding_trades_nothing(one_stock):
    market = one_stock(np.linspace(100, 110, 10)[:, None])
    market.step(np.array([[0.5]]))
    traded = int(market.traded[0])
    result = market.step(np.zeros((1, 1)), np.array([True]))
    assert market.traded[0] == traded and result.turnover[0] == 0.0 and result.returns[0] > 0.0


def test_the_reward_is_of_the_step_itself(one_stock):
    closes = flat(100.0)
    closes[4:] = 110.0
    market = one_stock(closes)
    first = market.step(np.array([[0.5]]))
    second = market.step(np.array([[0.5]]))
    returns = np.array([first.returns[0], second.returns[0]])
    sharpe = returns.mean() / returns.std(ddof=1) * 252**0.5
    assert second.returns[0] > 0.04
    assert first.rewards[0] == pytest.approx(100.0 * first.returns[0])
    assert second.rewards[0] == pytest.approx(100.0 * second.returns[0] + 0.1 * min(sharpe, 10.0))


def test_a_reward_is_clipped_and_excess_turnover_costs(one_stock):
    closes = flat(100.0)
    closes[4:] = 200.0
    market = one_stock(closes)
    market.step(np.array([[0.9]]))
    assert market.step(np.array([[0.9]])).rewards[0] == 20.0
    from strategies.production_config import Reward
    from training.rewards import Moment, momentum

    def moment(turnover):
        return Moment(np.zeros(1), np.zeros(1), np.array([turnover]), np.zeros(1))

    calm, busy = (momentum(moment(turnover=turnover), Reward())[0] for turnover in (0.5, 0.9))
    assert calm == 0.0 and busy == pytest.approx(-0.04)


def test_an_invested_start_holds_equal_weights_and_the_cash_buffer(random_bars, make_config, make_limits):
    market = PortfolioMarket(random_bars(), make_config(), make_limits())
    market.reset(0, invested=True)
    np.testing.assert_allclose(market.weights()[0], 0.3, atol=0.005)
    assert market.equity[0] == market.opening and market.charges[0] == 0


@pytest.mark.parametrize("count", [4, 12])
def test_portfolios_side_by_side_do_not_touch_each_other(random_bars, make_config, make_limits, count):
    bars, config, limits = random_bars(start="2022-11-01"), make_config(), make_limits()
    together = PortfolioMarket(bars, config, limits, count=count)
    rng = np.random.default_rng(0)
    targets = rng.dirichlet(np.ones(4), (60, count))[:, :, :3]
    alone = [PortfolioMarket(bars, config, limits, tables=together.tables) for _ in range(count)]
    for k in range(count):
        together.reset(k, start=5 + k, invested=k % 2 == 0)
        alone[k].reset(0, start=5 + k, invested=k % 2 == 0)
    for row in targets:
        seen = together.observations()
        for k, market in enumerate(alone):
            np.testing.assert_array_equal(seen[k], market.observations()[0])
            market.step(row[k : k + 1])
        together.step(row)
    for k, market in enumerate(alone):
        assert together.cash[k] == market.cash[0] and together.charges[k] == market.charges[0]
        np.testing.assert_array_equal(together.shares[k], market.shares[0])


def test_money_is_conserved_and_limits_hold_on_random_paths(random_bars, make_config, make_limits):
    """Cash is never negative, and changes by what was traded at the fill prices and by charges, to the paisa."""
    market = PortfolioMarket(random_bars(sessions=300, n=4), make_config(n=4), make_limits(), count=6)
    rng = np.random.default_rng(1)
    for _ in range(250):
        before_shares, before_cash, t = market.shares.copy(), market.cash.copy(), int(market.t[0])
        charges, traded = market.charges.copy(), market.traded.copy()
        market.step(rng.dirichlet(np.ones(5), 6)[:, :4] ** 1.5)
        assert (market.cash >= 0).all() and (market.shares >= 0).all()
        change = market.shares - before_shares
        price = np.where(change > 0, np.array(market.tables.buy_prices[t]), np.array(market.tables.sell_prices[t]))
        np.testing.assert_array_equal(
            market.cash, before_cash - (change * price).sum(axis=1) - (market.charges - charges)
        )
        np.testing.assert_array_equal(market.traded - traded, (np.abs(change) * price).sum(axis=1))
        assert (price[change != 0] > 0).all()
    np.testing.assert_array_equal(
        market.equity, market.cash + (market.shares * market.tables.closes[market.t]).sum(axis=1)
    )


def test_observations_equal_the_daemons_function(random_bars, make_config, make_limits):
    from strategies.observation import observe

    bars = random_bars()
    market = PortfolioMarket(bars, make_config(), make_limits())
    rng = np.random.default_rng(2)
    for _ in range(40):
        t = int(market.t[0])
        mine = observe(
            bars.close[: t + 1],
            5,
            weights=market.weights()[0],
            value_ratio=float(market.equity[0] / market.opening),
            cash_weight=float(market.cash[0] / market.equity[0]),
            recent_returns=market.recent_returns(0),
        )
        np.testing.assert_array_equal(market.observations()[0], mine)
        market.step(rng.dirichlet(np.ones(4), 1)[:, :3])


def test_an_incomplete_session_is_refused_by_name(random_bars, make_config, make_limits):
    bars = random_bars()
    bars.close[7, 1] = np.nan
    with pytest.raises(BadInput, match="S1 has no close on 2023-02-10"):
        PortfolioMarket(bars, make_config(), make_limits())


def test_too_few_sessions_are_refused(random_bars, make_config, make_limits):
    with pytest.raises(BadInput, match="6 sessions, allowed: at least 7"):
        PortfolioMarket(random_bars(sessions=6), make_config(), make_limits())


@pytest.mark.parametrize("target", [[0.6, 0.6, 0.0], [-0.1, 0.2, 0.2], [np.nan, 0.2, 0.2]])
def test_targets_that_are_no_weights_are_refused(random_bars, make_config, make_limits, target):
    market = PortfolioMarket(random_bars(), make_config(), make_limits())
    with pytest.raises(BadInput, match="target weights"):
        market.step(np.array([target]))
