"""The catalogue of faults: each of the 96, and where it is played. `python -m daemon.simulation.catalogue` writes the table.

A code stands for a kind of fault that has cost somebody money or sleep. Those of `daemon.simulation.faults` are played by the
simulation; of the others this says which test plays them, or plainly that none does.
"""

from __future__ import annotations

import sys
from typing import Final

from daemon.simulation.faults import FAULTS

GROUPS: Final[dict[str, str]] = {
    "M": "Market data", "A": "Model", "R": "Risk gate", "B": "Broker", "P": "Process", "D": "Disk", "C": "Clock",
    "G": "Configuration", "H": "People",
}  # fmt: skip

NOT_YET: Final = "**not played**"

CATALOGUE: Final[dict[str, str]] = {
    "M1": "ticks stop, the connection stays up",
    "M2": "an old bar is served as today's",
    "M3": "an unfinished bar, or one of the future",
    "M4": "one instrument is missing",
    "M5": "a split or bonus issue that is not adjusted",
    "M6": "not a number, zero, negative, high below low",
    "M7": "one wrong print",
    "M8": "the calendar is wrong: a holiday it does not know, a special session",
    "M9": "a symbol is renamed, merged, delisted, suspended",
    "M10": "feed and broker disagree on a price",
    "M11": "a download is cut, or its columns changed",
    "M12": "the exchange halts or changes its hours",
    "M13": "reconnect storms, late and doubled data",
    "A1": "the artifact is missing, or its hash differs",
    "A2": "the artifact is unsigned, or a pickle",
    "A3": "the output is no number, or of the wrong shape",
    "A4": "features or normaliser are of another version",
    "A5": "the model is too old, or retraining failed",
    "A6": "extreme turnover or concentration in one step",
    "A7": "inference is slow, hangs, or raises",
    "A8": "the artifact is swapped during a decision",
    "A9": "another machine gives other numbers",
    "A10": "the trainer writes while the daemon reads",
    "R1": "limits are missing or unreadable",
    "R2": "positions or cash are old",
    "R3": "an exception inside the gate",
    "R4": "many small orders add up",
    "R5": "the same decision is applied again",
    "R6": "a loss reaches a breaker",
    "R7": "units are confused",
    "R8": "a limit price outside collar or band",
    "R9": "cash is short until the sales are through",
    "R10": "a restart forgets the day's counters",
    "B1": "no answer to an order",
    "B2": "the order book lags",
    "B3": "fills are told twice",
    "B4": "fills are missed while disconnected",
    "B5": "a status goes backwards",
    "B6": "filled in part, then the day is over",
    "B7": "rejected",
    "B8": "the session expires",
    "B9": "429, and the pace of orders",
    "B10": "502, 503, 504 on an order",
    "B11": "the broker reuses an order id",
    "B12": "open or cancel pending for hours",
    "B13": "one order in a hundred thousand trades",
    "B14": "positions are changed by hand",
    "B15": "orders are refused since the address changed",
    "B16": "the answer is HTML, cut, of another type",
    "B17": "cancelled, and filled all the same",
    "B18": "a market order without protection",
    "B19": "the tag is missing or cut in the book",
    "B20": "an order outside hours",
    "P1": "killed between record and send",
    "P2": "killed between send and answer",
    "P3": "killed after the answer, before its record",
    "P4": "the event loop is blocked",
    "P5": "native code keeps the interpreter",
    "P6": "a crash loop",
    "P7": "SIGTERM in the middle of a batch",
    "P8": "SIGTERM is ignored",
    "P9": "out of memory",
    "P10": "a second instance",
    "P11": "the broker is absent, at start or later",
    "P12": "a part dies silently",
    "P13": "descriptors leak",
    "P14": "half an upgrade",
    "P15": "a reboot in market hours",
    "P16": "dead code, a reused flag",
    "D1": "the disk is full",
    "D2": "an error of the disk",
    "D3": "the database is corrupt",
    "D4": "power loss, a torn write",
    "D5": "the state directory is read-only",
    "D6": "a flood of log lines, a slow disk",
    "D7": "an old backup is restored",
    "C1": "the wall clock jumps, or is wrong",
    "C2": "the clock is not synchronised at boot",
    "C3": "a wrong time zone",
    "C4": "suspend and resume",
    "C5": "the time of the decision is missed",
    "C6": "a year of running: floats lose the microsecond",
    "G1": "a misspelt or unknown key",
    "G2": "a limit is raised by mistake",
    "G3": "paper and live are confused",
    "G4": "a secret is missing, or readable by others",
    "G5": "half a reload",
    "G6": "an instrument outside the mandate",
    "H1": "an emergency stop",
    "H2": "a stop while the loop hangs",
    "H3": "a resume too early",
    "H4": "trades and cash by hand, without telling",
    "H5": "alerts are ignored",
    "H6": "nobody is there",
    "H7": "the wrong account or key",
    "H8": "somebody else on the socket",
}

ELSEWHERE: Final[dict[str, str]] = {
    "M9": f"{NOT_YET}: there is no list of instruments by ISIN yet",
    "M10": f"{NOT_YET}: there is one source of prices",
    "M11": "tests/market/test_quality.py, tests/cli/test_bad_input.py",
    "A1": "tests/strategies/test_artifact.py",
    "A2": "tests/strategies/test_artifact.py: nothing is unpickled; signatures are not there yet",
    "A4": "tests/strategies/test_artifact.py",
    "A5": "tests/strategies/test_artifact.py",
    "A9": "tests/strategies/test_artifact.py",
    "A10": "tests/e2e/test_hot_load.py",
    "R1": "tests/cli/test_bad_input.py",
    "R2": "tests/daemon/test_reconciling.py",
    "R3": "tests/daemon/test_bus.py",
    "R4": "tests/daemon/test_gate_in_the_daemon.py",
    "R7": "mypy on the types of money; tests/risk/test_order_checks.py",
    "R8": "tests/risk/test_order_checks.py",
    "R9": "tests/daemon/test_executor.py, and every simulated day that sells first",
    "R10": "tests/daemon/test_warm_and_cold.py",
    "B11": f"{NOT_YET}: orders are known by our tags",
    "B13": f"{NOT_YET}",
    "B15": f"{NOT_YET}: no broker over the network that checks it",
    "B18": "every order is a limit order: risk/approval.py has no other kind",
    "B19": "tests/daemon/test_reconciling.py",
    "B20": "tests/daemon/test_last_look.py",
    "P2": "the simulation, by `killed`",
    "P3": "the simulation, by `killed`",
    "P4": "tests/daemon/test_stop_plane.py",
    "P5": "tests/daemon/test_stop_plane.py, by a blocked loop",
    "P6": "systemd/tarazu-paper.service; not played",
    "P8": "tests/e2e/test_paper_process.py kills it",
    "P9": f"{NOT_YET}",
    "P10": "tests/e2e/test_paper_process.py",
    "P13": f"{NOT_YET}",
    "P14": f"{NOT_YET}",
    "P16": "unknown keys are errors: tests/risk/test_limits_file.py",
    "D2": "tests/daemon/test_control.py: a writer that fails in any way",
    "D3": "tests/daemon/test_journal.py",
    "D5": f"{NOT_YET}",
    "D7": f"{NOT_YET}",
    "C2": f"{NOT_YET}",
    "C3": "tests/market/test_calendar.py",
    "C6": "tests/daemon/test_clock.py",
    "G1": "tests/risk/test_limits_file.py",
    "G2": f"{NOT_YET}: limits are not signed",
    "G3": f"{NOT_YET}: there is no live mode yet",
    "G4": f"{NOT_YET}: there are no secrets yet",
    "G5": "tests/e2e/test_hot_load.py",
    "G6": f"{NOT_YET}",
    "H2": "tests/daemon/test_stop_plane.py",
    "H5": f"{NOT_YET}: alerts are not delivered yet",
    "H7": f"{NOT_YET}: there is no account to confuse yet",
    "H8": "tests/daemon/test_control.py",
}


def table() -> str:
    """Return the catalogue as a table: code, fault, where it is played."""
    played: dict[str, list[str]] = {}
    for fault in FAULTS:
        played.setdefault(fault.code, []).append(f"`{fault.name}`")
    lines = []
    for letter, title in GROUPS.items():
        lines += ["", f"### {title}", "", "| code | fault | where |", "|---|---|---|"]
        for code, what in CATALOGUE.items():
            if code[0] == letter:
                where = [
                    *([f"simulation: {', '.join(played[code])}"] if code in played else []),
                    ELSEWHERE.get(code, ""),
                ]
                lines.append(f"| {code} | {what} | {'; '.join(filter(None, where))} |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
