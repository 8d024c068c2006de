"""The synthetic market has the figures of the real one, and nothing in it contradicts itself."""

import shutil
from datetime import date

import numpy as np
import pytest

from market.calendar import Calendar
from market.errors import BadInput
from market.quality import check
from market.store import read_bars, read_csv
from market.synthetic import TARGETS, TICK, generate, generate_intraday

CALENDAR = Calendar.load()
BANKS = ("AXISBANK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "SBIN")
FIRST, LAST = date(2007, 1, 1), date(2024, 9, 30)


def autocorrelation(values, lag):
    centred = values - values.mean(axis=0)
    return float(((centred[lag:] * centred[:-lag]).mean(axis=0) / (centred**2).mean(axis=0)).mean())


def pairwise_correlation(values):
    return float(np.corrcoef(values.T)[np.triu_indices(values.shape[1], 1)].mean())


def measure(bars):
    """Measure what TARGETS names, in the way market/synthetic.py says."""
    returns = np.diff(np.log(bars.close), axis=0)
    centred = returns - returns.mean(axis=0)
    night, through = np.log(bars.open[1:] / bars.close[:-1]), np.log(bars.close[1:] / bars.open[1:])
    log_volume = np.log(bars.volume)
    around = np.stack([np.convolve(column, np.full(61, 1 / 61), "same") for column in log_volume.T], axis=1)
    deviation = (log_volume - around)[60:-60]
    absolute = np.abs(returns)
    return {
        "annual_volatility": float(returns.std(axis=0).mean() * np.sqrt(252)),
        "correlation": pairwise_correlation(returns),
        "kurtosis": float(((centred**4).mean(axis=0) / (centred**2).mean(axis=0) ** 2).mean()),
        **{f"acf_abs_{lag}": autocorrelation(absolute, lag) for lag in (1, 5, 20, 50)},
        "overnight_share": float((night**2).sum() / ((night**2).sum() + (through**2).sum())),
        "range_ratio": float((np.log(bars.high / bars.low)[1:].mean(axis=0) / through.std(axis=0)).mean()),
        "log_volume_deviation": float(deviation.std(axis=0).mean()),
        "log_volume_acf_1": autocorrelation(deviation, 1),
    }


@pytest.fixture(scope="module")
def generated():
    """Medians over 15 seeds: one market of 17 years says little about tails and clusters."""
    every = [measure(generate(seed, BANKS, FIRST, LAST, CALENDAR)) for seed in range(15)]
    return {name: float(np.median([figures[name] for figures in every])) for name in every[0]}


@pytest.mark.parametrize(
    ("figure", "tolerance"),
    [
        ("annual_volatility", 0.06),
        ("correlation", 0.04),
        ("kurtosis", 3.5),
        ("acf_abs_1", 0.06),
        ("acf_abs_5", 0.06),
        ("acf_abs_20", 0.07),
        ("acf_abs_50", 0.06),
        ("overnight_share", 0.02),
        ("range_ratio", 0.06),
        ("log_volume_deviation", 0.03),
        ("log_volume_acf_1", 0.04),
    ],
)
def test_generated_bars_have_the_measured_figures(generated, figure, tolerance):
    assert generated[figure] == pytest.approx(getattr(TARGETS, figure), abs=tolerance)


def test_the_targets_are_what_the_real_banks_show(real_data, tmp_path):
    path = tmp_path / "banks.csv"
    shutil.copyfile(real_data / "nse_banks_daily.csv", path)
    figures = measure(read_csv(path))
    for name, value in figures.items():
        assert value == pytest.approx(getattr(TARGETS, name), rel=0.05), name


def test_returns_themselves_have_no_memory():
    every = [
        autocorrelation(np.diff(np.log(generate(seed, BANKS, FIRST, LAST, CALENDAR).close), axis=0), 1)
        for seed in range(5)
    ]
    assert abs(float(np.mean(every))) < 0.03


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    arguments = (BANKS, date(2023, 1, 1), date(2023, 12, 31), CALENDAR)
    assert generate(7, *arguments).sha256 == generate(7, *arguments).sha256
    assert generate(7, *arguments).sha256 != generate(8, *arguments).sha256


def test_another_symbol_beside_it_changes_nothing_of_a_symbol():
    short = generate(7, ("SBIN",), date(2023, 1, 1), date(2023, 6, 30), CALENDAR)
    wide = generate(7, BANKS, date(2023, 1, 1), date(2023, 6, 30), CALENDAR).select(("SBIN",))
    assert wide.sha256 == short.sha256


def test_a_later_end_changes_nothing_before_it():
    short = generate(7, BANKS, date(2023, 1, 1), date(2023, 6, 30), CALENDAR)
    long = generate(7, BANKS, date(2023, 1, 1), date(2023, 12, 31), CALENDAR)
    assert long.slice(date(2023, 1, 1), date(2023, 6, 30)).sha256 == short.sha256


@pytest.mark.parametrize("seed", range(5))
def test_generated_bars_pass_the_quality_check(seed):
    bars = generate(seed, (*BANKS, "M&M", "TCS"), FIRST, LAST, CALENDAR)
    report = check(bars, CALENDAR, as_of=LAST)
    assert report.findings == ()
    steps = bars.close / TICK
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert (bars.volume == np.floor(bars.volume)).all()


def test_nothing_is_generated_without_symbols_or_sessions():
    with pytest.raises(BadInput, match="no session"):
        generate(1, BANKS, date(2027, 1, 1), date(2027, 2, 1), CALENDAR)
    with pytest.raises(BadInput, match="each once"):
        generate(1, ("SBIN", "SBIN"), FIRST, LAST, CALENDAR)
    with pytest.raises(BadInput, match="at least one"):
        generate(1, (), FIRST, LAST, CALENDAR)


DAYS = (date(2023, 11, 12), date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 4))


def test_five_minute_bars_add_up_to_their_days():
    daily = generate(11, BANKS, date(2023, 11, 1), date(2024, 3, 31), CALENDAR)
    intraday = generate_intraday(11, daily, DAYS, CALENDAR)
    counts = []
    for day in DAYS:
        bars, whole = intraday.slice(day, day), daily.slice(day, day)
        counts.append(len(bars.starts))
        np.testing.assert_array_equal(bars.open[0], whole.open[0])
        np.testing.assert_array_equal(bars.high.max(axis=0), whole.high[0])
        np.testing.assert_array_equal(bars.low.min(axis=0), whole.low[0])
        np.testing.assert_array_equal(bars.close[-1], whole.close[0])
        np.testing.assert_array_equal(bars.volume.sum(axis=0), whole.volume[0])
    assert counts == [12, 75, 21, 75], "an hour of Muhurat, two short sessions, ordinary days"
    assert (intraday.high >= np.maximum(intraday.open, intraday.close)).all()
    assert (intraday.low <= np.minimum(intraday.open, intraday.close)).all()
    assert (intraday.volume >= 0).all()
    assert len(list(intraday.iter_batches(CALENDAR))) == sum(counts)


def test_five_minute_bars_are_seeded_and_the_open_is_the_wildest_moment():
    days = [session.day for session in CALENDAR.sessions(date(2024, 1, 23), date(2024, 2, 29))]
    daily = generate(11, BANKS, date(2023, 11, 1), date(2024, 3, 31), CALENDAR)
    bars = generate_intraday(11, daily, days, CALENDAR)
    assert bars.sha256 == generate_intraday(11, daily, days, CALENDAR).sha256
    assert bars.sha256 != generate_intraday(12, daily, days, CALENDAR).sha256
    squares = (np.log(bars.close / bars.open) ** 2).reshape(len(days), 75, len(BANKS)).mean(axis=(0, 2))
    assert squares[0] > 5 * squares.mean()
    volumes = bars.volume.reshape(len(days), 75, len(BANKS)).mean(axis=(0, 2))
    assert volumes[0] > 2 * volumes.mean() > 2 * volumes[37]


def test_five_minute_bars_of_a_closed_or_absent_day_are_refused():
    daily = generate(11, BANKS, date(2024, 3, 1), date(2024, 3, 31), CALENDAR)
    with pytest.raises(BadInput, match="2024-03-08: Maha Shiv Ratri"):
        generate_intraday(11, daily, [date(2024, 3, 8)], CALENDAR)
    with pytest.raises(BadInput, match="the daily bars do not have it"):
        generate_intraday(11, daily, [date(2024, 4, 2)], CALENDAR)


def test_real_five_minute_bars_vary_as_the_generated_ones_do(real_data, tmp_path):
    path = tmp_path / "five.csv.gz"
    shutil.copyfile(real_data / "nse_banks_5min_2023-07_2024-06.csv.gz", path)
    real = read_bars(path).slice(date(2024, 5, 20), date(2024, 6, 28))
    days = [session.day for session in CALENDAR.sessions(date(2024, 5, 20), date(2024, 6, 28))]
    daily = generate(5, BANKS, date(2023, 1, 1), date(2024, 6, 28), CALENDAR)
    made = generate_intraday(5, daily, days, CALENDAR)

    def profile(bars):
        squares = np.log(bars.close / bars.open) ** 2
        return np.array([np.nanmean(part) for part in np.array_split(squares.reshape(-1, 75, 5), 5, axis=1)]) / np.mean(
            squares
        )

    np.testing.assert_allclose(profile(made)[1:], profile(real)[1:], atol=0.5)
