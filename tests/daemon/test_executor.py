"""Plans under bad luck, through the whole core in virtual time: unknown orders, deadlines, halts, restarts."""

from datetime import date

import numpy as np
import pytest

from brokers.paper import FillModel
from daemon.journal import read_journal
from daemon.messages import Decided, Halted, OrderReports, OrdersIntended, Outcome, PlanClosed
from daemon.replay import history_message, replay
from daemon.settings import DaemonSettings
from market.calendar import Calendar
from market.instrument import Instrument
from market.money import rupees
from market.store import DailyBars
from risk.limits import load_limits

SYMBOLS = ("AXISBANK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "SBIN")
START, END = date(2024, 2, 1), date(2024, 3, 28)


class Weights:
    """A strategy that plays back rows of weights."""

    name = "weights"
    look_back = 0
    symbols = SYMBOLS

    def __init__(self, rows):
        self.rows = rows
        self.calls = 0

    def target(self, context):
        row = self.rows[min(self.calls, len(self.rows) - 1)]
        self.calls += 1
        return None if row is None else np.array(row)


def bars(calendar, seed=3):
    sessions = calendar.sessions(date(2023, 11, 1), END)
    rng = np.random.default_rng(seed)
    shape = (len(sessions), len(SYMBOLS))
    close = np.round(1000 * np.exp(np.cumsum(rng.normal(0.0004, 0.006, shape), axis=0)), 2)
    opened = np.vstack([close[:1], close[:-1]])
    return DailyBars(
        symbols=SYMBOLS,
        days=np.array([session.day for session in sessions], dtype="datetime64[D]"),
        open=opened,
        high=np.maximum(opened, close) * 1.002,
        low=np.minimum(opened, close) * 0.998,
        close=close,
        volume=np.full(shape, 1e7),
        sha256="test",
    )


def run(tmp_path, rows, model=None, observer=None):
    calendar = Calendar.load()
    data = bars(calendar)
    settings = DaemonSettings("test", "replay", tuple(map(Instrument, SYMBOLS)), rupees(1_000_000))
    path = tmp_path / "journal.sqlite"
    result = replay(
        settings=settings,
        bars=data.slice(START, END),
        calendar=calendar,
        limits=load_limits("production/config/risk_limits.yaml", mode="replay"),
        strategy=Weights(rows),
        start=START,
        end=END,
        opens=data,
        history=history_message(data, START, 41),
        fill_model=model or FillModel(slippage_bps=2),
        journal_path=path,
        observer=observer,
    )
    return result, [record.message for record in read_journal(path)]


def of(messages, kind):
    return [message for message in messages if isinstance(message, kind)]


def test_the_same_inputs_give_the_same_journal_byte_for_byte(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, _ = run(tmp_path / "a", [[0.19] * 5, [0.1, 0.3, 0.2, 0.1, 0.25]])
    second, _ = run(tmp_path / "b", [[0.19] * 5, [0.1, 0.3, 0.2, 0.1, 0.25]])
    assert first.journal_sha256 == second.journal_sha256
    assert first.tally.fills > 10


def test_every_session_is_decided_once_and_every_order_follows_a_record_of_its_intent(tmp_path):
    _, messages = run(tmp_path, [[0.19] * 5])
    decided = of(messages, Decided)
    assert len({(m.session, m.slot) for m in decided}) == len(decided)
    intended = set()
    for message in messages:
        if isinstance(message, OrdersIntended):
            tags = {order.tag for order in message.orders}
            assert not tags & intended, "a tag is intended once"
            intended |= tags
        if isinstance(message, OrderReports):
            assert {report.tag for report in message.reports} <= intended


def test_weights_stay_inside_the_limits_after_each_completed_plan(tmp_path):
    result, messages = run(tmp_path, [[0.9, 0.1, 0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    limits = load_limits("production/config/risk_limits.yaml", mode="replay").position_limits
    for message in of(messages, Decided):
        if message.outcome is Outcome.APPROVED:
            assert max(message.approved) <= limits.max_weight_per_stock + 1e-9
            assert sum(message.approved) <= 1 - limits.min_cash_reserve + 1e-9
    assert result.tally.interventions > 0


def test_an_unknown_order_is_never_sent_again_and_its_symbol_waits_for_evidence(tmp_path):
    result, messages = run(
        tmp_path, [[0.19] * 5, [0.3, 0.1, 0.2, 0.15, 0.15]], FillModel(lost_answer_fraction=0.3, seed=5)
    )
    tags = [order.tag for message in of(messages, OrdersIntended) for order in message.orders]
    assert len(tags) == len(set(tags))
    unknown = [r for m in of(messages, OrderReports) for r in m.reports if r.kind == "unknown"]
    adopted = [m for m in of(messages, OrderReports) if m.source == "reconcile"]
    assert unknown and adopted, "lost answers are found in the books"
    assert result.core_state.unknown_orders() == []
    assert not of(messages, Halted)


def test_a_request_that_never_arrived_expires_by_evidence_and_the_next_plan_makes_it_good(tmp_path):
    result, messages = run(tmp_path, [[0.19] * 5], FillModel(lost_request_fraction=0.4, seed=1))
    ends = [r for m in of(messages, OrderReports) if m.source == "reconcile" for r in m.reports if r.kind == "expired"]
    assert ends
    held = [q for q in result.core_state.account.quantities.values() if q]
    assert len(held) == 5
    assert not of(messages, Halted)


def test_thin_volume_leaves_a_residual_that_is_told_and_carried(tmp_path):
    _, messages = run(tmp_path, [[0.19] * 5], FillModel(participation=0.000002))
    closed = of(messages, PlanClosed)
    assert any(message.residuals for message in closed)
    assert all(message.tracking_error >= 0 for message in closed)


@pytest.mark.parametrize(
    "row",
    [[float("nan"), 0.2, 0.2, 0.2, 0.2], [0.2, 0.2], [-0.1, 0.3, 0.3, 0.3, 0.2], [0.5, 0.5, 0.5, 0.5, 0.5], None],
)
def test_a_bad_answer_of_a_strategy_trades_nothing_and_is_on_record(tmp_path, row):
    result, messages = run(tmp_path, [row])
    outcomes = {message.outcome for message in of(messages, Decided)}
    assert outcomes <= {Outcome.HOLD, Outcome.REFUSED}
    assert all(message.reasons for message in of(messages, Decided))
    assert result.tally.orders == 0


def test_a_strategy_that_raises_means_hold(tmp_path):
    result, messages = run(tmp_path, ["not weights"])
    assert {message.outcome for message in of(messages, Decided)} == {Outcome.HOLD}
    assert "STRATEGY_FAILED" in of(messages, Decided)[0].reasons[0]
    assert result.tally.orders == 0


def test_ledger_and_broker_agree_to_the_paisa_at_the_end_of_every_session(tmp_path):
    seen = []

    def compare(core, message, envelope):
        if isinstance(message, PlanClosed):
            broker = core.edges.outside.broker
            seen.append(core.state.account.cash == broker.account.cash)
            assert dict(core.state.account.quantities) == dict(broker.account.quantities)

    run(tmp_path, [[0.19] * 5, [0.3, 0.1, 0.2, 0.15, 0.15]], observer=compare)
    assert seen and all(seen)


def test_a_report_that_cannot_be_true_halts_and_does_not_poison_the_journal(tmp_path):
    """A fill without shares was folded with an exception once: every later start would have raised it again."""
    from brokers.port import OrderReport, ReportKind
    from daemon.messages import Lane
    from risk.approval import Side

    planted = []

    def plant(core, message, envelope):
        if isinstance(message, OrdersIntended) and not planted:
            order = message.orders[0]
            planted.append(order.tag)
            bad = OrderReport(order.tag, order.symbol, Side(order.side), ReportKind.FILL, "B1", "T-bad", 0)
            core.bus.post(Lane.BROKER, OrderReports(reports=(bad,)))

    result, messages = run(tmp_path, [[0.19] * 5], observer=plant)
    halts = of(messages, Halted)
    assert [halt.cause for halt in halts] == ["BROKER_CONTRADICTION"] and planted[0] in halts[0].detail
    assert "BROKER_CONTRADICTION" in result.core_state.halts
    later = [m for m in messages[messages.index(halts[0]) :] if isinstance(m, OrdersIntended)]
    assert later == []


def test_a_journal_of_another_universe_is_refused_not_folded(tmp_path):
    from daemon.fold import fold_journal
    from market.errors import BadInput

    run(tmp_path, [[0.19] * 5])
    turned = DaemonSettings("test", "replay", tuple(map(Instrument, SYMBOLS[::-1])), rupees(1_000_000))
    limits = load_limits("production/config/risk_limits.yaml", mode="replay")
    with pytest.raises(BadInput, match=r"universe AXISBANK.*portfolio\.assets"):
        fold_journal(tmp_path / "journal.sqlite", settings=turned, limits=limits)
