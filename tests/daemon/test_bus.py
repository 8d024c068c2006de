"""The bus: one message at a time, control first, journal before handlers, effects only when durable."""

import asyncio
from datetime import date

import daemon.bus as bus_module
from daemon.bus import CAPACITY, Bus, Effect
from daemon.clock import Clock, VirtualTimeLoop
from daemon.journal import Journal
from daemon.messages import ComponentFailed, Halted, Lane, OperatorCommand, SessionClosed, SlotDue

DAY = date(2024, 6, 4)


class Send(Effect):
    durable = True


class Tell(Effect):
    pass


class Bench:
    def __init__(self, *, durable=False):
        self.loop = VirtualTimeLoop()
        self.ran = []
        self.journal = Journal(":memory:", durable=durable)
        self.bus = Bus(self.journal, Clock(self.loop, 0), self.ran.append)

    def run(self):
        self.bus.start()
        self.loop.run_until_complete(asyncio.sleep(1))

    def close(self):
        self.journal.close()
        self.loop.close()


def test_control_overtakes_a_market_backlog():
    bench = Bench()
    seen = []
    bench.bus.handle(SessionClosed, lambda m, e: seen.append("market"))
    bench.bus.handle(OperatorCommand, lambda m, e: seen.append("control"))
    for _ in range(500):
        bench.bus.post(Lane.MARKET, SessionClosed(session=DAY))
    bench.bus.post(Lane.CONTROL, OperatorCommand(verb="halt", uid=0))
    bench.run()
    assert seen[0] == "control" and len(seen) == 501
    bench.close()


def test_derived_messages_are_handled_before_the_next_from_an_edge_and_carry_their_cause():
    bench = Bench()
    seen = []

    def on_slot(message, envelope):
        seen.append((message.slot, envelope.seq, envelope.cause))
        return [Halted(cause=message.slot, detail="")]

    bench.bus.handle(SlotDue, on_slot)
    bench.bus.handle(Halted, lambda m, e: seen.append((m.cause, e.seq, e.cause)))
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="b"))
    bench.run()
    assert seen == [("a", 1, 0), ("a", 2, 1), ("b", 3, 0), ("b", 4, 3)]
    bench.close()


def test_a_record_is_in_the_journal_before_its_handler_runs():
    bench = Bench()
    at_handling = []
    bench.bus.handle(SlotDue, lambda m, e: at_handling.append(bench.journal.seq))
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.run()
    assert at_handling == [1]
    bench.close()


def test_a_durable_effect_waits_for_its_record_and_all_before_it(tmp_path):
    bench = Bench()
    bench.journal.close()
    journal = Journal(tmp_path / "journal.sqlite", durable=True)
    bench.journal = bench.bus.journal = journal
    list(journal.read())
    bench.bus.handle(SlotDue, lambda m, e: [Halted(cause="x", detail=""), Send()])
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.run()
    assert bench.ran == []
    journal.durable_seq = 1
    bench.bus.release()
    assert bench.ran == [], "the order's own record is the second one"
    journal.durable_seq = 2
    bench.bus.release()
    assert len(bench.ran) == 1
    bench.close()


def test_a_journal_failure_stops_everything_and_no_held_effect_runs(tmp_path):
    bench = Bench()
    bench.journal.close()
    journal = Journal(tmp_path / "journal.sqlite", durable=True)
    bench.journal = bench.bus.journal = journal
    failures = []
    bench.bus.on_failure = failures.append
    bench.bus.handle(SlotDue, lambda m, e: [Send()])
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.run()
    journal.failure = "disk full"
    bench.bus.release()
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="b"))
    bench.loop.run_until_complete(asyncio.sleep(1))
    assert bench.ran == [] and failures == ["journal: disk full"]
    assert bench.journal.seq == 1
    bench.close()


def test_an_exception_in_a_handler_halts_the_dispatch_instead_of_vanishing():
    bench = Bench()
    reported = []
    bench.loop.set_exception_handler(lambda loop, context: reported.append(context["message"]))
    bench.bus.handle(SlotDue, lambda m, e: 1 / 0)
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="b"))
    bench.run()
    assert "ZeroDivisionError" in bench.bus.failed and reported
    assert bench.journal.seq == 1
    bench.close()


def test_a_full_market_lane_drops_the_oldest_and_counts_it():
    bench = Bench()
    seen = []
    bench.bus.handle(SlotDue, lambda m, e: seen.append(m.slot))
    for number in range(CAPACITY[Lane.MARKET] + 3):
        bench.bus.post(Lane.MARKET, SlotDue(session=DAY, slot=str(number)))
    bench.run()
    assert bench.bus.counters.dropped == 3
    assert seen[0] == "3" and len(seen) == CAPACITY[Lane.MARKET]
    bench.close()


def test_a_full_control_lane_halts_rather_than_drops():
    bench = Bench()
    for _ in range(CAPACITY[Lane.CONTROL] + 1):
        bench.bus.post(Lane.CONTROL, ComponentFailed(component="x", error="y"))
    assert bench.bus.failed is not None and "control lane is full" in bench.bus.failed
    bench.close()


def test_recovery_folds_and_does_not_decide(tmp_path):
    path = tmp_path / "journal.sqlite"
    first = Bench()
    first.journal.close()
    first.journal = first.bus.journal = Journal(path, durable=False)
    first.bus.handle(SlotDue, lambda m, e: [Halted(cause="x", detail=""), Tell()])
    first.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    first.run()
    first.close()
    second = Bench()
    second.journal.close()
    second.journal = second.bus.journal = Journal(path, durable=False)
    folded, handled = [], []
    second.bus.reduce(SlotDue, lambda m, e: folded.append("slot"))
    second.bus.reduce(Halted, lambda m, e: folded.append("halt"))
    second.bus.handle(SlotDue, lambda m, e: handled.append(m))
    assert second.bus.recover() == 2
    assert folded == ["slot", "halt"] and handled == [] and second.ran == []
    second.close()


def test_an_observer_that_breaks_is_counted_and_stops_nothing():
    bench = Bench()
    bench.bus.on_record = lambda message, envelope: 1 / 0
    seen = []
    bench.bus.handle(SlotDue, lambda m, e: seen.append(m.slot))
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="b"))
    bench.run()
    assert seen == ["a", "b"] and bench.bus.failed is None
    assert bench.bus.counters.observer_errors == 2 and "ZeroDivisionError" in bench.bus.counters.observer_error
    bench.close()


def test_an_effect_that_breaks_halts_the_dispatch():
    bench = Bench()
    bench.loop.set_exception_handler(lambda loop, context: None)
    bench.bus._run_effect = lambda effect: 1 / 0
    bench.bus.handle(SlotDue, lambda m, e: [Tell()])
    bench.bus.post(Lane.TIMER, SlotDue(session=DAY, slot="a"))
    bench.run()
    assert "Tell: ZeroDivisionError" in bench.bus.failed
    bench.close()


def test_bars_wait_while_the_disk_is_far_behind_and_a_command_does_not(monkeypatch):
    monkeypatch.setattr(bus_module, "_AHEAD", 3)
    bench = Bench()
    seen = []
    bench.bus.handle(SlotDue, lambda m, e: seen.append(m.slot))
    bench.bus.handle(OperatorCommand, lambda m, e: seen.append(m.verb))
    durable = {"seq": 0}
    journal = bench.bus.journal
    append = journal.append

    def behind(message, **more):
        seq = append(message, **more)
        journal.durable_seq = durable["seq"]
        return seq

    monkeypatch.setattr(journal, "append", behind)
    for number in range(5):
        bench.bus.post(Lane.MARKET, SlotDue(session=DAY, slot=str(number)))
    bench.run()
    assert seen == ["0", "1", "2"]
    bench.bus.post(Lane.CONTROL, OperatorCommand(verb="halt", uid=0))
    bench.run()
    assert seen == ["0", "1", "2", "halt"]
    durable["seq"] = journal.durable_seq = journal.seq
    bench.bus.release()
    bench.run()
    assert seen[4:] == ["3", "4"]
    bench.close()
