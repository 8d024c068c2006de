"""Orders: reports in any order and any number of times end in the same place."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.orders import TERMINAL, TRANSITIONS, IllegalReport, Order, OrderState, check_tags, order_tag
from brokers.port import Capabilities, OrderReport, ReportKind
from market.errors import BadInput
from market.money import Paise
from risk.approval import Side


def order(quantity: int = 100) -> Order:
    return Order("tag1", "plan", "SBIN", Side.BUY, quantity, Paise(50_000))


def report(kind: ReportKind, *, trade: str = "", quantity: int = 0, price: int = 0, detail: str = "") -> OrderReport:
    return OrderReport("tag1", "SBIN", Side.BUY, kind, "B1", trade, quantity, Paise(price), 1, detail)


def fill(trade: str, quantity: int, price: int = 50_000) -> OrderReport:
    return report(ReportKind.FILL, trade=trade, quantity=quantity, price=price)


ACK = report(ReportKind.ACKNOWLEDGED)
UNKNOWN = report(ReportKind.UNKNOWN)
CANCELLED = report(ReportKind.CANCELLED)
REJECTED = report(ReportKind.REJECTED, detail="no funds")
EXPIRED = report(ReportKind.EXPIRED)
NOT_SENT = report(ReportKind.NOT_SENT, detail="the stop latch is engaged")


def test_the_ordinary_life_of_an_order() -> None:
    it = order()
    assert it.state is OrderState.INTENDED
    assert it.mark_sent().after is OrderState.SENT
    assert it.apply(ACK).after is OrderState.ACKNOWLEDGED
    assert it.apply(fill("1", 40, 49_900)).after is OrderState.PARTIALLY_FILLED
    change = it.apply(fill("2", 60, 50_000))
    assert change.after is OrderState.FILLED and change.filled == 60
    assert (it.filled, it.remaining, it.value) == (100, 0, 40 * 49_900 + 60 * 50_000)
    assert it.average_price == 49_960 and it.broker_order_id == "B1" and it.terminal


def test_a_repeated_trade_is_counted_once() -> None:
    it = order()
    it.apply(fill("1", 40))
    change = it.apply(fill("1", 40))
    assert (change.filled, change.ignored) == (0, "trade already counted")
    assert "other terms" in it.apply(fill("1", 41)).ignored
    assert it.filled == 40 and it.has_trade("1") and not it.has_trade("2")


def test_a_fill_after_the_cancel_counts_and_a_full_one_wins() -> None:
    it = order()
    it.apply(ACK)
    assert it.request_cancel().after is OrderState.CANCEL_REQUESTED
    assert it.apply(CANCELLED).after is OrderState.CANCELLED
    assert it.apply(fill("1", 30)).filled == 30
    assert it.state is OrderState.CANCELLED
    assert it.apply(fill("2", 70)).after is OrderState.FILLED


def test_a_status_never_goes_backwards() -> None:
    it = order()
    it.apply(CANCELLED)
    for late in (ACK, UNKNOWN, EXPIRED, REJECTED):
        change = it.apply(late)
        assert change.after is OrderState.CANCELLED and not change.filled
    assert it.apply(EXPIRED).ignored == "already cancelled"


def test_unknown_stands_until_there_is_evidence() -> None:
    for evidence, state in (
        (ACK, OrderState.ACKNOWLEDGED),
        (fill("1", 1), OrderState.PARTIALLY_FILLED),
        (REJECTED, OrderState.REJECTED),
        (EXPIRED, OrderState.EXPIRED),
        (NOT_SENT, OrderState.REJECTED),
    ):
        it = order()
        it.apply(UNKNOWN)
        assert it.state is OrderState.UNKNOWN
        it.request_cancel()
        assert it.state is OrderState.UNKNOWN  # asking for a cancel proves nothing
        it = order()
        it.apply(UNKNOWN)
        assert it.apply(evidence).after is state
        assert it.apply(UNKNOWN).after is state  # a late "unknown" is no news


def test_a_refusal_keeps_its_reason() -> None:
    it = order()
    it.apply(REJECTED)
    assert it.state is OrderState.REJECTED and it.detail == "no funds"


def test_more_shares_than_asked_for_are_counted_and_shown() -> None:
    it = order(10)
    it.apply(fill("1", 12))
    assert it.filled == 12 and it.overfilled and it.remaining == 0 and it.state is OrderState.FILLED


@pytest.mark.parametrize(
    "wrong",
    [
        OrderReport("other", "SBIN", Side.BUY, ReportKind.ACKNOWLEDGED),
        OrderReport("tag1", "INFY", Side.BUY, ReportKind.ACKNOWLEDGED),
        OrderReport("tag1", "SBIN", Side.SELL, ReportKind.ACKNOWLEDGED),
        fill("", 1),
        fill("1", 0),
        fill("1", -5),
        fill("1", 1, 0),
    ],
)
def test_what_cannot_be_about_this_order_is_a_bug(wrong: OrderReport) -> None:
    it = order()
    with pytest.raises(AssertionError):
        it.apply(wrong)
    assert it.filled == 0 and it.state is OrderState.INTENDED


def test_not_sent_and_at_the_broker_contradict_each_other() -> None:
    it = order()
    it.apply(NOT_SENT)
    with pytest.raises(IllegalReport):
        it.apply(ACK)
    it = order()
    it.apply(ACK)
    with pytest.raises(IllegalReport):
        it.apply(NOT_SENT)


def test_terminal_states_give_way_to_nothing_but_fills() -> None:
    assert set(TRANSITIONS) == set(OrderState)
    for state in TERMINAL:
        assert TRANSITIONS[state] <= {OrderState.FILLED}
    assert all(
        OrderState.INTENDED not in after and OrderState.SENT not in after - {OrderState.SENT}
        for after in TRANSITIONS.values()
    )


@st.composite
def streams(draw: st.DrawFn) -> list[OrderReport]:
    """One broker's consistent story of an order of 100 shares."""
    story: list[OrderReport] = [ACK]
    left = 100
    for i in range(draw(st.integers(0, 4))):
        quantity = draw(st.integers(1, max(1, left)))
        if quantity <= left:
            story.append(fill(f"T{i}", quantity, draw(st.integers(49_000, 50_000))))
            left -= quantity
    if left:
        story += draw(st.sampled_from([[], [CANCELLED], [EXPIRED]]))
    if draw(st.booleans()):
        story.append(UNKNOWN)
    return story


@given(streams(), st.data())
def test_any_order_and_repetition_of_reports_ends_in_the_same_position(
    story: list[OrderReport], data: st.DataObject
) -> None:
    first, second = order(), order()
    for item in story:
        first.apply(item)
    repeats = data.draw(st.lists(st.sampled_from(story), max_size=5))
    shuffled = data.draw(st.permutations(story + repeats))
    news = 0
    for item in shuffled:
        before = second.state
        change = second.apply(item)
        news += change.filled
        assert change.before is before and change.after is second.state
        assert before is second.state or second.state in TRANSITIONS[before]
        # Replaying everything so far changes nothing.
        assert second.apply(item).filled == 0
    assert (first.filled, first.value, first.fills, first.state) == (
        second.filled,
        second.value,
        second.fills,
        second.state,
    )
    assert news == second.filled == sum(item.quantity for item in story)


@st.composite
def late_stories(draw: st.DrawFn) -> list[OrderReport]:
    """An order that was cancelled, expired or refused, and whose fills come to light in whatever order."""
    cuts = sorted(draw(st.sets(st.integers(1, 99), min_size=1, max_size=4)))
    fills = [fill(f"T{i}", upto - before, 49_000 + i) for i, (before, upto) in enumerate(pairwise([0, *cuts]))]
    return [*fills, draw(st.sampled_from([CANCELLED, EXPIRED, REJECTED])), *draw(st.lists(st.just(ACK), max_size=1))]


@given(late_stories(), st.data())
def test_fills_that_are_told_late_count_and_what_we_do_meanwhile_changes_no_end(
    story: list[OrderReport], data: st.DataObject
) -> None:
    """Sent, asked to cancel, unknown, told twice: at any moment. Every step is one that the table allows, and all end alike."""
    steps = [*story, *data.draw(st.lists(st.sampled_from(story), max_size=4)), UNKNOWN, "sent", "cancel"]
    it = order()
    for step in data.draw(st.permutations(steps)):
        before = it.state
        if isinstance(step, OrderReport):
            it.apply(step)
        else:
            (it.mark_sent if step == "sent" else it.request_cancel)()
        assert it.state is before or it.state in TRANSITIONS[before]
    shares = {item.trade_id: item for item in story if item.kind is ReportKind.FILL}
    end = next(
        item.kind for item in story if item.kind in (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
    )
    assert it.filled == sum(item.quantity for item in shares.values()) < 100
    assert it.value == sum(item.quantity * item.price for item in shares.values())
    assert it.state == end.value and it.terminal


@given(
    st.lists(st.sampled_from([ACK, UNKNOWN, CANCELLED, REJECTED, EXPIRED, fill("a", 40), fill("b", 60)]), max_size=12)
)
def test_even_a_contradictory_story_breaks_no_rule(story: list[OrderReport]) -> None:
    it = order()
    trades = {item.trade_id: item.quantity for item in story if item.kind is ReportKind.FILL}
    for i, item in enumerate(story):
        before = it.state
        it.apply(item)
        if i % 3 == 2:
            it.request_cancel()
        assert before not in TERMINAL or it.state in (before, OrderState.FILLED)
    assert it.filled == sum(trades.values())
    assert (it.state is OrderState.FILLED) == (it.filled == 100)


def test_the_tag_is_a_function_of_its_arguments_and_nothing_else() -> None:
    assert order_tag("p:2026-11-20:rebalance", "SBIN", Side.BUY, 0) == "10b4a4ba7f06f03c34c3"


@given(st.text(max_size=60), st.sampled_from(["SBIN", "M&M", "BAJAJ-AUTO"]), st.sampled_from(Side), st.integers(0, 99))
def test_a_tag_fits_every_broker(decision: str, symbol: str, side: Side, attempt: int) -> None:
    tag = order_tag(decision, symbol, side, attempt)
    assert len(tag) <= 20 and set(tag) <= set(string.ascii_letters + string.digits)


def test_tags_differ_with_every_argument() -> None:
    tags = {
        order_tag(decision, symbol, side, attempt)
        for decision in ("d1", "d2")
        for symbol in ("SBIN", "INFY")
        for side in Side
        for attempt in range(50)
    }
    assert len(tags) == 2 * 2 * 2 * 50


TAGS = [(20, True, True), (32, False, True), (0, False, True), (19, True, False), (12, False, False), (0, True, False)]


@pytest.mark.parametrize(("longest", "by_tag", "fits"), TAGS)
def test_a_broker_that_would_cut_a_tag_is_refused(longest: int, by_tag: bool, fits: bool) -> None:
    can = Capabilities(lookup_by_tag=by_tag, rejects_duplicate_tag=False, tag_max_length=longest, order_updates=True)
    if fits:
        check_tags("it", can)
        return
    with pytest.raises(BadInput, match=f"broker it: it keeps tags of {longest} characters, ours have 20"):
        check_tags("it", can)
