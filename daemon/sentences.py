"""One line for a person: what a record of the risk gate means, in plain words. Used by the log and by `status`."""

from __future__ import annotations

from typing import Any

from daemon.conditions import RULES
from daemon.messages import (
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    ConditionChanged,
    Decided,
    OrdersRefused,
    Outcome,
    RiskAlerted,
    RollbackDecided,
)
from risk.margins import Margin

_OUTCOMES = {
    Outcome.REFUSED: "refused",
    Outcome.HOLD: "held, nothing traded",
    Outcome.SKIPPED: "skipped",
}


def sentence(message: Any) -> str:
    """Return a line, or nothing for a record that needs no words."""
    if isinstance(message, Decided):
        return _decided(message)
    if isinstance(message, BreakerTripped):
        what = f" ({message.detail})" if message.detail else ""
        return (
            f"{message.name} tripped{what}: {message.used:.2%} of {message.limit:.2%} used;"
            " trading is paused until the pause is over and a person has approved"
        )
    if isinstance(message, BreakerReleased):
        return f"{', '.join(message.names)} released: the pause is over and a person has approved; trading goes on"
    if isinstance(message, BreakerApproved):
        return f"uid {message.uid} approved going on: {message.reason}"
    if isinstance(message, RollbackDecided):
        back = message.back_to or "no earlier model, none is taken back"
        return f"model {message.model} lost {message.used:.2%} (limit {message.limit:.2%}); back to: {back}"
    if isinstance(message, ConditionChanged):
        return condition_sentence(message)
    if isinstance(message, RiskAlerted):
        called = f"; call {', '.join(message.contacts)}" if message.contacts else ""
        return "; ".join([reason.text for reason in message.reasons]) + called
    if isinstance(message, OrdersRefused):
        return f"{len(message.refusals)} orders refused: " + "; ".join(f"{s} {why}" for s, why in message.refusals)
    return ""


def condition_sentence(message: ConditionChanged) -> str:
    """Return what a condition means while it holds, or that it is over."""
    rule = RULES[message.name]
    if not message.holds:
        return f"{message.name} is over: {message.detail}"
    return f"{message.name}: {rule.meaning} ({message.detail}); forbids {rule.forbids}, ends {rule.ends}: {rule.ending}"


def _decided(message: Decided) -> str:
    if message.outcome is not Outcome.APPROVED:
        return f"{message.decision_id} {_OUTCOMES[message.outcome]}: {'; '.join(message.reasons)}"
    if message.exit:
        sold = ", ".join(f"{move.symbol} {move.before - move.after}" for move in message.moves)
        return f"{message.decision_id} sells for safety: {sold}; {'; '.join(message.reasons)}"
    moves = ", ".join(f"{move.symbol} {move.after - move.before:+d}" for move in message.moves) or "nothing to trade"
    changed = ", ".join(f"{name} moved {amount:.1%}" for name, amount in message.moved.items())
    relaxed = ", ".join(f"{name} gave way to {bound:.1%}" for name, bound in message.relaxed.items())
    parts = [f"{message.decision_id} approved: {moves}"]
    parts.append(f"the gate changed the target ({changed})" if changed else "the target was kept")
    if relaxed:
        parts.append(relaxed)
    nearest = tightest(message.margins)
    if nearest is not None:
        parts.append(f"nearest limit: {nearest.name} {nearest.detail} {nearest.used:.1%} of {nearest.limit:.1%}")
    closest = tightest(message.breakers)
    if closest is not None:
        parts.append(f"nearest breaker: {closest.name} {closest.used:.1%} of {closest.limit:.1%}")
    return "; ".join(" ".join(part.split()) for part in parts)


def tightest(margins: tuple[Margin, ...]) -> Margin | None:
    """Return the margin with the least left, relative to its limit."""
    limited = [margin for margin in margins if margin.limit > 0]
    return min(limited, key=lambda margin: margin.left / margin.limit, default=None)
