"""The books against the ledger: when they are read, what is no difference yet, what explains one, and what a person accepts."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from brokers.paper import FillModel, PaperBroker
from brokers.port import Capabilities, Funds, Known, Position
from daemon.core import build_core
from daemon.messages import (
    AccountRead,
    BrokerConnection,
    Decided,
    Halted,
    Lane,
    LedgerCorrected,
    ManualTrades,
    OperatorCommand,
    OrderReports,
    OrdersIntended,
    Outcome,
    Reconciled,
)
from daemon.settings import ONLY_IF_NEEDED, ReconcileSettings
from market.errors import BadInput
from market.money import rupees
from risk.approval import Side
from tests.daemon.life import MONDAY, TUESDAY, ask, at, bars, bought, history, of, reconcile

LOST_ANSWER = FillModel(lost_answer_fraction=1.0, seed=1)
LOST_REQUEST = FillModel(lost_request_fraction=1.0, seed=1)


def purposes(messages):
    return [message.purpose for message in of(messages, AccountRead)]


def compare(running, until):
    """Ask for the books and let the judgement come."""
    running.core.bus.post(Lane.CONTROL, reconcile())
    return running.to(MONDAY, until)


def alerts(running, event):
    return [alert.detail for alert in running.told if alert.event == event]


def idle(life, **more):
    """A daemon with nothing to do: no slot decided before 09:20."""
    return life(at(MONDAY, "09:00"), past=history(), **more).to(MONDAY, "09:16")


# ---- the moments -----------------------------------------------------------------------------------------------------


def test_the_books_are_read_at_start_before_planning_after_execution_by_the_timer_and_at_the_close(life):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25")).to(MONDAY, "15:50")
    messages = running.kill()
    read = purposes(messages)
    assert read[:2] == ["start", "planning"] and "executed" in read
    assert read.count("timer") == 77  # each five minutes, to the end of the ten in which the last bars come
    kinds = [type(message) for message in messages]
    assert kinds.index(Decided) > max(
        i for i, m in enumerate(messages) if isinstance(m, AccountRead) and m.purpose == "planning"
    )


def test_the_timer_can_be_set_and_put_off(life):
    quick = idle(life, reconcile=ReconcileSettings(every_minutes=0.5, before_planning=False, after_execution=False))
    assert purposes(quick.to(MONDAY, "09:16:10").kill()) == ["start", "timer", "timer"]


def test_a_replay_reads_the_books_only_where_something_went_wrong(life):
    running = life(at(MONDAY, "09:00"), past=history(), mode="replay").play(bars(MONDAY, "09:25")).to(MONDAY, "12:00")
    assert running.core.state.account.fills
    assert purposes(running.kill()) == ["start"]


def test_extra_reads_change_nothing_that_is_traded(life, tmp_path):
    ends = []
    for name, settings in (("few", ONLY_IF_NEEDED), ("many", ReconcileSettings())):
        folder = tmp_path / name
        folder.mkdir()
        running = life.func(folder, at(MONDAY, "09:00"), past=history(), reconcile=settings)
        running.play(bars(MONDAY, "09:25"), bars(MONDAY, "12:00", (1010.0,) * 5)).to(MONDAY, "12:10")
        ends.append((running.core.state.account.to_state(), running.core.state.equity()))
        running.kill()
    assert ends[0] == ends[1]


def test_a_lost_connection_is_on_record_and_a_restored_one_reconciles(life):
    running = idle(life)
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=False, detail="the stream broke"))
    running.to(MONDAY, "09:17")
    assert not running.core.state.reconciled_clean and alerts(running, "broker.lost") == ["the stream broke"]
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=True))
    running.to(MONDAY, "09:18")
    assert running.core.state.reconciled_clean
    assert purposes(running.kill())[-1] == "reconnect"


def test_a_slot_due_while_the_connection_is_gone_asks_the_books_itself(life):
    running = idle(life).play(bars(MONDAY, "09:25"))
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=False))
    running.to(MONDAY, "09:30")
    assert running.core.state.last_decision.outcome is Outcome.APPROVED
    running.kill()


def test_a_decision_waits_for_books_that_cannot_be_read_and_is_skipped_at_the_end_of_its_window(life):
    running = idle(life)
    running.broker.fail_reads("503")
    running.to(MONDAY, "10:19")
    assert running.core.state.last_decision is None
    running.to(MONDAY, "10:21")
    (decided,) = of(running.kill(), Decided)
    assert decided.outcome is Outcome.SKIPPED and "could not be compared" in decided.reasons[0]


def test_a_decision_whose_books_differ_is_skipped_with_the_halt(life):
    running = idle(life)
    running.broker.correct(delta=-100, cause="a fee that nobody told us")
    running.to(MONDAY, "09:21")
    (decided,) = of(running.kill(), Decided)
    assert decided.outcome is Outcome.SKIPPED and "RECONCILE_DIFFERENCE" in decided.reasons[0]


def test_a_comparison_a_moment_ago_serves_the_plan(life):
    running = idle(life)
    running.to(MONDAY, "09:19")
    running.clock.call_at(at(MONDAY, "09:19") + 45 * 10**9, running.core.bus.post, Lane.CONTROL, reconcile())
    running.to(MONDAY, "09:21")
    assert "planning" not in purposes(running.kill())


# ---- unknown orders --------------------------------------------------------------------------------------------------


def test_an_unknown_order_is_looked_for_at_growing_intervals_and_told_of_after_ten_minutes(life):
    running = life(at(MONDAY, "09:00"), past=history(), model=LOST_REQUEST, reconcile=ONLY_IF_NEEDED)
    running.to(MONDAY, "09:29")
    assert running.core.state.unknown_orders() and not alerts(running, "order.long_unknown")
    running.to(MONDAY, "09:36")
    assert len(alerts(running, "order.long_unknown")) == 5
    running.to(MONDAY, "09:59")
    assert len(alerts(running, "order.long_unknown")) == 5, "once for each"
    seconds = [(at_ns - at(MONDAY, "09:20")) // 10**9 for at_ns in running.reads("unknown")]
    assert seconds[:7] == [0, 10, 40, 100, 400, 600, 1500]
    messages = running.kill()
    tags = [order.tag for message in of(messages, OrdersIntended) for order in message.orders]
    assert len(tags) == len(set(tags)) == 5, "none is sent again"


def test_an_answer_that_was_lost_is_found_by_the_tag(life):
    running = life(at(MONDAY, "09:00"), past=history(), model=LOST_ANSWER).play(bars(MONDAY, "09:25"))
    running.to(MONDAY, "09:26")
    state = running.core.state
    assert not state.unknown_orders() and state.account.cash == running.broker.account.cash
    assert not of(running.kill(), Halted)


class Tagless(PaperBroker):
    """A broker whose books carry no tags."""

    capabilities = Capabilities(lookup_by_tag=False, rejects_duplicate_tag=False, tag_max_length=0, order_updates=True)

    async def orders(self):
        answer = await super().orders()
        return Known(tuple(_without_tag(entry) for entry in answer.value))

    async def trades(self):
        answer = await super().trades()
        return Known(tuple(_without_tag(entry) for entry in answer.value))


def _without_tag(entry):
    return msgspec.structs.replace(entry, tag="")


def test_without_tags_orders_are_known_by_the_brokers_id(life):
    running = life(at(MONDAY, "09:00"), past=history(), broker=Tagless).play(bars(MONDAY, "09:25")).to(MONDAY, "09:40")
    state = running.core.state
    assert state.account.fills == 5 and state.reconciled_clean and not state.evidence.blocked
    messages = running.kill()
    assert not of(messages, Halted) and not of(messages, ManualTrades)


def test_without_tags_an_order_that_looks_like_ours_is_told_of_and_not_adopted(life):
    running = life(at(MONDAY, "09:00"), past=history(), model=LOST_ANSWER, broker=Tagless).play(bars(MONDAY, "09:25"))
    running.to(MONDAY, "09:40")
    state = running.core.state
    assert len(state.unknown_orders()) == 5 and not state.account.fills
    assert len(alerts(running, "order.alike")) == 5
    assert not state.halts, "what an unknown order leaves open is no difference"
    running.to(MONDAY, "15:50")  # no order under our name came to light: what was traded is booked as not ours
    assert not state.unknown_orders() and not state.halts
    assert state.account.quantities == running.broker.account.quantities
    assert state.account.cash == running.broker.account.cash
    assert len(alerts(running, "reconcile.manual_trade")) == 1
    running.kill()


class Silent(PaperBroker):
    """A broker that tells nothing by itself."""

    capabilities = Capabilities(lookup_by_tag=True, rejects_duplicate_tag=False, tag_max_length=20, order_updates=False)

    def attach(self, sink):
        super().attach(lambda reports: None)


def test_a_broker_without_a_stream_is_polled_while_orders_are_open(life):
    running = life(at(MONDAY, "09:00"), past=history(), broker=Silent, reconcile=ONLY_IF_NEEDED)
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    state = running.core.state
    assert state.account.fills == 5 and not state.live
    before = len(running.reads("poll"))
    assert before >= 60
    running.to(MONDAY, "09:40")
    assert len(running.reads("poll")) <= before + 1, "nothing is open, nothing is asked"
    assert not of(running.kill(), Halted)


@pytest.mark.parametrize(("expired", "name", "most"), [(True, "login_needed", 2), (False, "broker_lost", 80)])
def test_polls_that_fail_begin_a_condition_and_a_look_at_all_books_ends_it(life, expired, name, most):
    running = life(at(MONDAY, "09:00"), past=history(), broker=Silent, reconcile=ONLY_IF_NEEDED)
    running.to(MONDAY, "09:20:30")
    running.broker.fail_reads("not now", login_needed=expired)
    running.to(MONDAY, "09:24")
    assert list(running.core.state.conditions.held) == [name]
    before = len(running.read)
    running.to(MONDAY, "09:28")
    assert len(running.read) - before <= most, "polls and looks, seldom where a person must log in"
    running.broker.fail_reads("")
    running.to(MONDAY, "09:40")
    assert not running.core.state.conditions.held
    running.kill()


def test_a_stream_that_is_gone_is_replaced_by_polling(life):
    running = life(at(MONDAY, "09:00"), past=history(), reconcile=ONLY_IF_NEEDED).to(MONDAY, "09:21")
    running.broker.attach(lambda reports: None)
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=False))
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    assert running.core.state.account.fills == 5
    running.kill()


def test_a_broker_that_would_cut_our_tags_is_refused_in_one_line():
    short = Capabilities(lookup_by_tag=True, rejects_duplicate_tag=False, tag_max_length=12, order_updates=True)
    outside = SimpleNamespace(broker=SimpleNamespace(name="short", capabilities=short))
    nothing = dict.fromkeys(("settings", "clock", "calendar", "journal", "limits", "charges"))
    with pytest.raises(BadInput, match="broker short: it keeps tags of 12 characters, ours have 20"):
        build_core(**nothing, outside=outside)


# ---- what is no difference yet ---------------------------------------------------------------------------------------


def lagging(running, seconds):
    """Let positions and funds show what happened only so much later, as a broker's slower books do."""
    broker, clock, past = running.broker, running.clock, []
    positions, funds = broker.positions, broker.funds

    def then():
        past.append((clock.now_ns(), broker.account.positions(), broker.account.cash))
        clock.loop.call_later(1.0, then)

    def seen():
        due = [entry for entry in past if entry[0] <= clock.now_ns() - seconds * 10**9]
        return due[-1] if due else past[0]

    async def late_positions():
        return Known(seen()[1])

    async def late_funds():
        return Known(Funds(seen()[2], seen()[2]))

    then()
    broker.positions, broker.funds = late_positions, late_funds
    return positions, funds


def test_books_that_lag_behind_our_own_fills_are_read_again_until_they_have_caught_up(life):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25")).to(MONDAY, "09:21")
    lagging(running, 20)
    running.to(MONDAY, "09:27")
    state = running.core.state
    assert state.account.fills == 5 and state.reconciled_clean
    messages = running.kill()
    assert not of(messages, Halted)
    assert purposes(messages).count("executed") >= 4


def test_two_readings_that_were_under_way_together_do_not_confirm_each_other(life):
    running = idle(life)
    truth, reads = running.broker.positions, []

    async def wrong_twice():
        reads.append(await truth())
        return Known((Position("SBIN", 1, 0),)) if len(reads) <= 2 else reads[-1]

    running.broker.positions = wrong_twice
    for why in ("one", "two"):
        running.core.bus.post(Lane.CONTROL, OperatorCommand(verb="reconcile", uid=-1, reason=why))
    running.to(MONDAY, "09:17")
    messages = running.kill()
    assert len(reads) >= 3 and not of(messages, Halted) and of(messages, Reconciled)[-1].clean


def test_what_outlasts_the_grace_is_judged(life):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25")).to(MONDAY, "09:21")
    lagging(running, 120)
    running.to(MONDAY, "09:25").to(MONDAY, "09:26")
    (halted,) = of(running.kill(), Halted)
    assert "SBIN: ledger" in halted.detail and "cash" in halted.detail


class Unsteady(PaperBroker):
    """States a cash that is wrong, and by a paisa more at each read, from `wrong` on."""

    wrong, reads = False, 0

    async def funds(self):
        answer = await super().funds()
        if not self.wrong:
            return answer
        await asyncio.sleep(0.2)
        self.reads += 1
        return Known(msgspec.structs.replace(answer.value, cash=answer.value.cash - rupees(50_000) - self.reads))


def test_a_difference_of_another_amount_in_each_read_is_read_with_pauses_and_halts_after_the_grace(life):
    running = bought(life, broker=Unsteady)
    running.broker.wrong = True
    compare(running, "09:40:20")
    assert not running.core.state.halts, "within the grace it may still pass"
    assert running.broker.reads <= 3 + 20 // 5
    running.to(MONDAY, "09:41")
    state = running.core.state
    assert not state.reconciled_clean and "RECONCILE_DIFFERENCE" in state.halts
    last = state.account.cash - rupees(50_000) - running.broker.reads
    assert f"broker {last} paise" in state.halts["RECONCILE_DIFFERENCE"], "the last figures are named"
    assert len(alerts(running, "reconcile.difference")) == 1
    running.to(MONDAY, "09:50")
    assert running.broker.reads < 15
    running.kill()


def test_an_unsteady_difference_that_ends_within_the_grace_is_none(life):
    running = bought(life, broker=Unsteady)
    running.broker.wrong = True
    compare(running, "09:40:20")
    running.broker.wrong = False
    running.to(MONDAY, "09:42")
    assert running.core.state.reconciled_clean and not running.core.state.halts
    running.kill()


def test_an_order_that_goes_on_record_while_the_books_are_read_is_not_unknown(life):
    running = life(at(MONDAY, "09:00"), past=history(), broker=Silent, reconcile=ONLY_IF_NEEDED)
    running.to(MONDAY, "09:19:50")
    broker = running.broker

    def slow(read, seconds):
        async def answer():
            known = await read()
            await asyncio.sleep(seconds)
            return known

        return answer

    broker.orders, broker.trades, broker.positions = (
        slow(read, seconds) for read, seconds in ((broker.orders, 15), (broker.trades, 18), (broker.positions, 18))
    )
    compare(running, "09:20:39")
    assert running.core.state.live, "sent while the books were being read, longer ago than the grace by their end"
    del broker.orders, broker.trades, broker.positions
    running.to(MONDAY, "09:22")
    reports = [report for m in of(running.kill(), OrderReports) for report in m.reports]
    assert reports and not [report for report in reports if report.kind == "unknown"]


# ---- trades by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", list(Side))
def test_a_trade_by_the_owners_hand_is_booked_told_and_no_reason_to_halt(life, side):
    running = bought(life)
    broker, state = running.broker, running.core.state
    cost = state.account.average_cost("SBIN")
    trade = broker.trade_by_hand("SBIN", side, 5, rupees(1_010))
    running.to(MONDAY, "09:46")  # the timer's look
    assert state.account.quantities == broker.account.quantities and state.account.cash == broker.account.cash
    assert state.account.average_cost("SBIN") == (cost if side is Side.SELL else broker.account.average_cost("SBIN"))
    assert alerts(running, "reconcile.manual_trade") and not state.halts and state.reconciled_clean
    (manual,) = of(running.kill(), ManualTrades)
    assert [(t.trade_id, t.symbol, t.quantity, t.price) for t in manual.trades] == [(trade, "SBIN", 5, rupees(1_010))]
    again = life(at(MONDAY, "09:50")).to(MONDAY, "10:10")
    assert again.core.state.account.to_state() == state.account.to_state()
    assert len(of(again.kill(), ManualTrades)) == 1, "each trade is booked once"


def test_shares_bought_and_sold_again_by_hand_are_explained_by_the_cash_that_is_gone(life):
    running = bought(life)
    running.broker.trade_by_hand("SBIN", Side.BUY, 7, rupees(1_000))
    running.broker.trade_by_hand("SBIN", Side.SELL, 7, rupees(990))
    compare(running, "09:41")
    state = running.core.state
    assert state.account.cash == running.broker.account.cash and not state.halts
    running.kill()


def test_a_trade_outside_the_universe_moves_cash_and_no_position_of_ours(life):
    running = idle(life)
    before = running.core.state.account.cash
    running.broker.trade_by_hand("INFY", Side.BUY, 10, rupees(1_500))
    compare(running, "09:17")
    state = running.core.state
    assert state.account.cash == running.broker.account.cash < before
    assert "INFY" not in state.account.quantities and not state.halts
    messages = running.kill()
    (corrected,) = of(messages, LedgerCorrected)
    assert (corrected.symbol, corrected.old, corrected.new) == ("", before, state.account.cash)
    assert "outside the universe: INFY 10" in of(messages, Reconciled)[-1].detail


def test_charges_that_a_contract_note_rounds_otherwise_are_a_correction_of_their_own(life):
    running = bought(life)
    running.broker.trade_by_hand("SBIN", Side.BUY, 5, rupees(1_000))
    running.broker.correct(delta=-40, cause="tax rounded to the rupee")
    compare(running, "09:41")
    state = running.core.state
    assert state.account.cash == running.broker.account.cash and not state.halts
    (corrected,) = of(running.kill(), LedgerCorrected)
    assert corrected.new - corrected.old == -40 and "rounded" in corrected.cause


@pytest.mark.parametrize("delta", [-101, 101])
def test_a_trade_that_does_not_explain_the_cash_explains_nothing(life, delta):
    running = bought(life)
    running.broker.trade_by_hand("SBIN", Side.BUY, 5, rupees(1_000))
    running.broker.correct(delta=delta, cause="something else")
    compare(running, "09:41")
    assert running.core.state.halts
    assert not of(running.kill(), ManualTrades)


def test_a_trade_that_explains_a_part_of_the_shares_explains_nothing(life):
    running = bought(life)
    running.broker.trade_by_hand("SBIN", Side.BUY, 5, rupees(1_000))
    running.broker.correct(symbol="SBIN", delta=1, cause="a gift")
    compare(running, "09:41")
    messages = running.kill()
    (halted,) = of(messages, Halted)
    assert halted.cause == "RECONCILE_DIFFERENCE" and "SBIN" in halted.detail and not of(messages, ManualTrades)


def test_an_open_order_that_is_not_ours_keeps_ours_out_of_its_symbol_until_it_is_gone(life):
    running = idle(life)
    order = running.broker.order_by_hand("SBIN", Side.BUY, 5, rupees(900))
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:30")
    state = running.core.state
    assert state.evidence.blocked == {"SBIN"} and not state.halts and state.reconciled_clean
    assert state.account.quantity("SBIN") == 0 and state.account.quantity("AXISBANK") > 0
    assert len(alerts(running, "reconcile.foreign_order")) == 1
    running.broker.withdraw_by_hand(order)
    running.play(bars(TUESDAY, "09:25")).to(TUESDAY, "09:30")
    assert state.evidence.blocked == frozenset() and state.account.quantity("SBIN") > 0
    running.kill()


def test_a_foreign_order_that_is_filled_becomes_a_trade_by_hand(life):
    running = idle(life)
    running.broker.order_by_hand("SBIN", Side.BUY, 5, rupees(1_000))
    running.play(bars(MONDAY, "09:18", (995.0,) * 5)).to(MONDAY, "09:40")
    state = running.core.state
    assert not state.evidence.blocked and not state.halts
    assert state.account.cash == running.broker.account.cash
    assert of(running.kill(), ManualTrades)


# ---- a person's word -------------------------------------------------------------------------------------------------


def differing(life):
    running = bought(life)
    running.broker.correct(symbol="SBIN", delta=3, cause="a gift")
    running.broker.correct(delta=-100, cause="a fee")
    return compare(running, "09:41")


def test_differences_are_accepted_as_shown_with_a_reason_and_trading_waits_for_a_resume(life):
    running = differing(life)
    state = running.core.state
    status = running.core.status()
    assert len(status["differences"]) == 2 and status["differences_code"]
    cost = state.account.average_cost("SBIN")
    assert ask(running, "reconcile/accept", reason=" ")[0] == 400
    assert ask(running, "reconcile/accept", reason="looked at it", nonce="00000000")[0] == 409
    code, answer = ask(running, "reconcile/accept", uid=7, reason="looked at it", nonce=status["differences_code"])
    assert code == 200 and answer["accepted"] == status["differences"] and answer["still_halted"]
    assert state.account.quantities == running.broker.account.quantities
    assert state.account.cash == running.broker.account.cash
    assert state.account.average_cost("SBIN") == pytest.approx(cost)
    assert state.reconciled_clean and state.evidence.differences == () and "RECONCILE_DIFFERENCE" in state.halts
    assert ask(running, "reconcile/accept", reason="again")[0] == 409
    _, prepared = ask(running, "resume/prepare")
    assert ask(running, "resume/confirm", nonce=prepared["nonce"], reason="accepted")[0] == 200
    assert not state.halts
    causes = [message.cause for message in of(running.kill(), LedgerCorrected)]
    assert causes == ["accepted by uid 7: looked at it"] * 2


def test_books_that_changed_since_they_were_shown_are_not_accepted(life):
    running = differing(life)
    running.broker.correct(delta=-1, cause="another fee")
    code, answer = ask(running, "reconcile/accept", reason="looked at it")
    assert code == 409 and "changed" in answer["error"]
    running.to(MONDAY, "09:42")
    messages = running.kill()
    assert not of(messages, LedgerCorrected)
    assert of(messages, Reconciled)[-1].differences != of(messages, Reconciled)[-2].differences


def test_books_that_cannot_be_read_are_not_accepted(life):
    running = differing(life)
    running.broker.fail_reads("503")
    code, answer = ask(running, "reconcile/accept", reason="looked at it")
    assert code == 503 and "nothing was changed" in answer["error"]
    assert not of(running.kill(), LedgerCorrected)


def test_what_was_accepted_explains_nothing_a_second_time(life):
    running = bought(life)
    running.broker.trade_by_hand("SBIN", Side.BUY, 5, rupees(1_000))
    running.broker.correct(symbol="SBIN", delta=1, cause="a gift")
    compare(running, "09:41")
    assert ask(running, "reconcile/accept", reason="both are mine")[0] == 200
    running.broker.trade_by_hand("SBIN", Side.SELL, 2, rupees(1_000))
    compare(running, "09:42")
    state = running.core.state
    assert state.account.quantities == running.broker.account.quantities
    assert state.account.cash == running.broker.account.cash and state.reconciled_clean
    assert len(of(running.kill(), ManualTrades)) == 1


def test_the_same_halt_is_told_once(life):
    running = differing(life)
    running.to(MONDAY, "10:30")
    messages = running.kill()
    assert len(of(messages, Halted)) == 1 and len(alerts(running, "reconcile.difference")) == 1


def test_reconciling_again_changes_nothing(life):
    running = bought(life)
    running.broker.trade_by_hand("SBIN", Side.BUY, 5, rupees(1_000))
    compare(running, "09:41")
    state = running.core.state
    before = (state.account.to_state(), dict(state.halts), state.evidence.blocked)
    for minute in range(42, 46):
        compare(running, f"09:{minute}")
    assert (state.account.to_state(), dict(state.halts), state.evidence.blocked) == before
    running.kill()


def test_a_start_that_had_to_be_accepted_is_a_start_all_the_same(life):
    bought(life).kill()
    again = life(at(MONDAY, "09:45"), model=FillModel())
    again.broker.correct(delta=-100, cause="a fee while nobody was here")
    again.to(MONDAY, "09:46")
    assert again.core.state.halts
    assert ask(again, "reconcile/accept", reason="the fee is known")[0] == 200
    assert of(again.kill(), Reconciled)[-1].purpose == "start"
