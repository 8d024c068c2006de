"""A plan whose purchases wait (for the books, for a condition to end) does not buy hours later, nor after a person's stop."""

import numpy as np
import pytest

from daemon.messages import ConditionChanged, ConditionName, Lane, OrdersIntended, Phase, PlanClosed
from tests.daemon.life import MONDAY, SYMBOLS, TUESDAY, ask, at, bars, history, of


class Swap:
    """All but the last share at first, then all but the first: the second day sells before it buys."""

    name, look_back, symbols = "swap", 0, SYMBOLS

    def target(self, context):
        invested = sum(context.weights) > 0.1
        return np.array([0.0, 0.19, 0.19, 0.19, 0.19] if invested else [0.19, 0.19, 0.19, 0.19, 0.0])


def condition(running, *, holds):
    message = ConditionChanged(name=ConditionName.DISK_FULL, holds=holds, detail="planted")
    running.core.bus.post(Lane.CONTROL, message)


@pytest.fixture
def held_back(life):
    """Tuesday's sales are done, and the purchases wait for the end of a condition."""
    running = life(at(MONDAY, "09:00"), past=history(), strategy=Swap())
    times = [f"{hour:02d}:{minute:02d}" for hour in range(9, 16) for minute in range(0, 60, 5)]
    for day in (MONDAY, TUESDAY):
        running.play(*[bars(day, clock) for clock in times if "09:20" <= clock <= "15:30"])
    running.to(TUESDAY, "09:20")
    running.loop.run_until_complete(running.clock.sleep_until(at(TUESDAY, "09:20") + 5 * 10**9))
    condition(running, holds=True)
    running.to(TUESDAY, "09:40")
    assert running.core.executor.held_back and any(not run.closed for run in running.core.state.runs.values())
    return running


def purchases(running, messages):
    plans = [m for m in of(messages, OrdersIntended) if m.phase is Phase.BUYS]
    return [order for plan in plans if plan.plan_id.startswith("20240611-rebalance") for order in plan.orders]


def test_purchases_go_on_when_the_condition_ends_in_time(held_back):
    condition(held_back, holds=False)
    held_back.to(TUESDAY, "10:30")
    assert purchases(held_back, held_back.kill())


def test_purchases_that_were_held_back_too_long_are_left_to_the_next_rebalance(held_back):
    held_back.to(TUESDAY, "13:00")
    condition(held_back, holds=False)
    held_back.to(TUESDAY, "13:20")
    messages = held_back.kill()
    assert not purchases(held_back, messages)
    closed = of(messages, PlanClosed)[-1]
    assert "until their time was over" in closed.why and closed.residuals


@pytest.mark.parametrize("mode", ["cancel", "flatten"])
def test_a_plan_that_waits_ends_with_a_stop_and_a_resume_does_not_bring_it_back(held_back, mode):
    ask(held_back, mode, reason="out")
    held_back.to(TUESDAY, "09:45")
    _, prepared = ask(held_back, "resume/prepare")
    assert ask(held_back, "resume/confirm", nonce=prepared["nonce"], reason="go on")[0] == 200
    condition(held_back, holds=False)
    held_back.to(TUESDAY, "10:15")
    messages = held_back.kill()
    assert not purchases(held_back, messages)
    assert any(plan.why.startswith("stopped: STOP_") for plan in of(messages, PlanClosed))
