"""Amounts and corporate actions as a person gives them: one clear line for each slip, and nothing booked by it."""

import json

import pytest

from market.errors import BadInput
from market.money import parse_rupees
from tests.command_line import daily, said


@pytest.mark.parametrize(
    ("text", "paise"),
    [("1", 100), ("0.01", 1), ("5000.5", 500_050), ("0000123.40", 12_340), ("1000000000000", 10**14)],
)
def test_an_amount_is_exact(text, paise):
    assert parse_rupees(text) == paise


BAD_AMOUNTS = (
    "0", "0.00", "-5", "+5", "1.234", "1,000", "1e3", "nan", "inf", "five", "", " 5", "5\n", "1000000000000.01", "9" * 50,
    "\u0665",
)  # fmt: skip


@pytest.mark.parametrize("text", BAD_AMOUNTS)
def test_an_amount_that_is_none_is_refused_with_what_is_allowed(text):
    with pytest.raises(BadInput, match="allowed: rupees above 0, at most 1000000000000, with up to two decimals"):
        parse_rupees(text)


@pytest.mark.parametrize("verb", ["deposit", "withdraw"])
@pytest.mark.parametrize(
    ("arguments", "wants"),
    [
        (("0", "--reason", "x"), "above 0"),
        (("-5", "--reason", "x"), "amount '-5'"),
        (("12.345", "--reason", "x"), "two decimals"),
        (("1000000000001", "--reason", "x"), "at most 1000000000000"),
        (("abc", "--reason", "x"), "amount 'abc'"),
        (("5", "--reason", " "), "--reason"),
    ],
)
def test_a_slip_in_a_cash_command_is_one_line(root, capsys, verb, arguments, wants):
    code, out = said(capsys, "cash", verb, *arguments, "--root", root)
    assert code == 2 and wants in out
    assert len(out.strip().splitlines()) == 1


def test_without_a_daemon_or_a_reason_no_cash_moves(root, capsys):
    code, out = said(capsys, "cash", "deposit", "5000", "--reason", "x", "--root", root)
    assert code == 3 and "no daemon answers there" in out
    code, out = said(capsys, "cash", "deposit", "5000", "--root", root)
    assert code == 2 and "--reason" in out


def actions(path, *lines):
    path.write_text("\n".join(["ex_date,symbol,action,shares_after_per_share_before", *lines]) + "\n")
    return path


def as_traded(root):
    """Bars in which SBIN is split 10:1 on 15 March 2024."""
    path = daily(root / "bars.csv")
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines[1:], 1):
        day, symbol, *prices, volume = line.split(",")
        if symbol == "SBIN" and day < "2024-03-15":
            lines[number] = ",".join([day, symbol, *(f"{float(p) * 10:.2f}" for p in prices), volume])
    path.write_text("\n".join(lines) + "\n")
    return path


def replay(capsys, root, *more):
    return said(
        capsys, "replay", "--root", root, "--data", as_traded(root), "--from", "2024-03-01", "--to", "2024-03-28",
        "--strategy", "equal_weight", "--json", *more,
    )  # fmt: skip


def test_replay_takes_a_split_out_of_as_traded_bars(root, capsys):
    code, out = replay(capsys, root)
    assert code == 0 and "single_stock_loss" in json.loads(out)["breaker_trips"]
    code, out = replay(capsys, root, "--actions", actions(root / "actions.csv", "2024-03-15,SBIN,split 10:1,10"))
    figures = json.loads(out)
    assert code == 0 and figures["breaker_trips"] == [] and abs(figures["return"]) < 0.1


def test_a_slip_in_the_actions_file_is_one_line(root, capsys):
    code, out = replay(capsys, root, "--actions", actions(root / "actions.csv", "2024-03-15,SBIN,rights 1:5,1.2"))
    assert code == 2 and "actions.csv: line 2: action 'rights 1:5': not handled yet" in out
    code, out = replay(capsys, root, "--actions", root / "none.csv")
    assert code == 2 and "none.csv" in out


def test_doctor_reads_the_deployments_actions(root, capsys):
    daily(root / "data" / "latest_market_data.csv")
    _, out = said(capsys, "doctor", "--root", root)
    assert "no table" in out
    actions(root / "data" / "corporate_actions.csv", "2024-03-15,SBIN,split 10:1,10", "2090-01-02,SBIN,bonus 1:1,2")
    _, out = said(capsys, "doctor", "--root", root)
    assert "2 actions; to come: SBIN bonus 2/1, ex 2090-01-02" in out
    actions(root / "data" / "corporate_actions.csv", "2024-03-15,SBIN,split 10:1,11")
    code, out = said(capsys, "doctor", "--root", root)
    assert code == 1 and "means 10; write that" in out


def test_history_of_an_adjusted_file_comes_out_as_its_last_row_traded(root):
    """The file goes on after the first session: what is in it for a later action is taken out again."""
    from datetime import date

    from daemon.replay import history_message
    from market.corporate_actions import read_actions
    from market.store import read_csv

    bars = read_csv(daily(root / "bars.csv"))
    table = read_actions(actions(root / "actions.csv", "2024-03-15,SBIN,split 10:1,10"))
    column = bars.symbols.index("SBIN")

    def closes(before, **more):
        message = history_message(bars, before, 5, **more)
        return [message.closes[i * len(bars.symbols) + column] for i in range(len(message.sessions))]

    early, late = date(2024, 3, 12), date(2024, 3, 18)
    assert closes(early, actions=table) == pytest.approx([10 * value for value in closes(early)])
    assert closes(late, actions=table) == closes(late)
    raw = closes(late, actions=table, as_traded=True)
    assert raw == pytest.approx([*(value / 10 for value in closes(late)[:-1]), closes(late)[-1]])


def test_no_answer_to_a_cash_command_is_not_taken_for_a_no(root, capsys):
    """Somebody takes the request and dies: what became of it is not known, and the line says so."""
    import socket
    import threading

    (root / "state").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "state" / "control.sock"))
        server.listen(1)

        def take_and_die():
            client, _ = server.accept()
            client.recv(65536)
            client.close()

        thread = threading.Thread(target=take_and_die)
        thread.start()
        code, out = said(capsys, "cash", "deposit", "5000", "--reason", "x", "--root", root)
        thread.join()
    assert code == 3 and "it may still be booked" in out
