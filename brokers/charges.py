"""What a delivery trade on NSE costs: levies from a dated table, to the paisa.

One row per rate and date on which it began (market rules 3.1 and 3.3). Rates are integers in units of 1e-9 of the order
value (Rs 1 per crore = 100 units), taxes in units of 1e-4, so that every amount is exact integer arithmetic.

Rounding: the total of a fill is the exact sum rounded half up to the paisa. Components are the differences of the
rounded running sum, so that each is within a paisa of its exact value and together they are the total. (Rounding each
component on its own and adding drifts by up to two paise and depends on how a contract note groups them.)

Not modelled: the contract note's rounding of STT to the whole rupee, the nominal Rs 0.01 brokerage, capital-gains tax.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from market.errors import BadInput
from market.money import ZERO, Paise
from risk.approval import Side

COVERED_FROM: Final = date(2015, 1, 1)
# Levies change with the Finance Act on 1 April; until the next one is known, later dates are refused.
COVERED_UNTIL: Final = date(2027, 3, 31)

_VALUE_UNIT: Final = 1_000_000_000
_TAX_UNIT: Final = 10_000
_SCALE: Final = _VALUE_UNIT * _TAX_UNIT
_HALF: Final = _SCALE // 2
_INT64_SAFE: Final = 2**62

_Rows = tuple[tuple[date, int], ...]

# Securities transaction tax, delivery, each side.
STT: Final[_Rows] = ((date(2012, 7, 1), 1_000_000),)
# NSE transaction charge, top slab before the flat rate of October 2024. The slab of April 2024 is not confirmed.
EXCHANGE: Final[_Rows] = (
    (date(2009, 10, 1), 32_500),
    (date(2021, 1, 1), 34_500),
    (date(2023, 4, 1), 32_500),
    (date(2024, 4, 1), 32_200),
    (date(2024, 10, 1), 29_700),
    (date(2026, 3, 1), 30_699),
)
# Investor protection fund trust, charged with the transaction charge.
IPFT: Final[_Rows] = ((date(2009, 10, 1), 0), (date(2023, 4, 1), 1_000), (date(2026, 3, 1), 1))
SEBI: Final[_Rows] = (
    (date(2014, 6, 1), 2_000),
    (date(2017, 4, 3), 1_500),
    (date(2019, 4, 1), 1_000),
    (date(2020, 6, 1), 500),
    (date(2021, 4, 1), 1_000),
)
# Service tax, from July 2017 GST; on brokerage, transaction charge and SEBI fee. Units of 1e-4.
TAX: Final[_Rows] = (
    (date(2012, 4, 1), 1_236),
    (date(2015, 6, 1), 1_400),
    (date(2015, 11, 15), 1_450),
    (date(2016, 6, 1), 1_500),
    (date(2017, 7, 1), 1_800),
)
# Stamp duty: state law (Maharashtra's rate) on both sides, since July 2020 uniform and on the buyer only.
STAMP_BUY: Final[_Rows] = ((date(2012, 1, 1), 100_000), (date(2020, 7, 1), 150_000))
STAMP_SELL: Final[_Rows] = ((date(2012, 1, 1), 100_000), (date(2020, 7, 1), 0))
# Depository charge with tax, paise per symbol and selling day. The day of the change is not confirmed: it is set to the
# day on which the depository lowered its own tariff. The amount before July 2017 (other tax) is not confirmed either.
DEPOSITORY: Final[_Rows] = ((date(2012, 1, 1), 1_593), (date(2024, 10, 1), 1_534))


class Charges(msgspec.Struct, frozen=True, gc=False):
    """What one fill costs, by component; each in paise."""

    stt: Paise
    exchange: Paise  # transaction charge and investor protection fund
    sebi: Paise
    brokerage: Paise
    tax: Paise
    stamp: Paise
    depository: Paise

    @property
    def total(self) -> Paise:
        """Return the sum of the components."""
        return Paise(self.stt + self.exchange + self.sebi + self.brokerage + self.tax + self.stamp + self.depository)


@dataclass(frozen=True, slots=True)
class ChargeRates:
    """The rates of one period. Units: 1e-9 of the value, `tax` 1e-4, `depository` paise per symbol and selling day."""

    stt: int
    exchange: int
    sebi: int
    brokerage: int
    tax: int
    stamp_buy: int
    stamp_sell: int
    depository: Paise
    _buy: int = field(init=False, repr=False)
    _sell: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        levies = self.stt + self.exchange + self.sebi + self.brokerage
        taxed = (self.exchange + self.sebi + self.brokerage) * self.tax
        object.__setattr__(self, "_buy", (levies + self.stamp_buy) * _TAX_UNIT + taxed)
        object.__setattr__(self, "_sell", (levies + self.stamp_sell) * _TAX_UNIT + taxed)

    @property
    def buy_fraction(self) -> float:
        """Return what a purchase costs, as a fraction of its value."""
        return self._buy / _SCALE

    @property
    def sell_fraction(self) -> float:
        """Return what a sale costs without the depository charge, as a fraction of its value."""
        return self._sell / _SCALE

    def total(self, side: Side, value: Paise, first_sale_today: bool) -> Paise:
        """Return the charges of a fill of `value`. A value of zero is no trade and costs nothing."""
        if side is Side.BUY:
            return Paise((value * self._buy + _HALF) // _SCALE)
        if first_sale_today and value:
            return Paise((value * self._sell + _HALF) // _SCALE + self.depository)
        return Paise((value * self._sell + _HALF) // _SCALE)

    def fill(self, *, side: Side, value: Paise, first_sale_today: bool) -> Charges:
        """Return the charges of a fill by component; they add up to `total` of the same arguments."""
        stamp = self.stamp_buy if side is Side.BUY else self.stamp_sell
        taxed = (self.exchange + self.sebi + self.brokerage) * self.tax
        parts: list[Paise] = []
        running = rounded = 0
        for rate in (
            self.stt * _TAX_UNIT,
            self.exchange * _TAX_UNIT,
            self.sebi * _TAX_UNIT,
            self.brokerage * _TAX_UNIT,
            taxed,
            stamp * _TAX_UNIT,
        ):
            running += value * rate
            upto = (running + _HALF) // _SCALE
            parts.append(Paise(upto - rounded))
            rounded = upto
        stt, exchange, sebi, brokerage, tax, stamp_duty = parts
        pays_depository = side is Side.SELL and first_sale_today and value
        return Charges(stt, exchange, sebi, brokerage, tax, stamp_duty, self.depository if pays_depository else ZERO)

    def total_array(
        self, side: Side, values: NDArray[np.float64], first_sale_today: NDArray[np.bool_] | bool = False
    ) -> NDArray[np.float64]:
        """Return the charges of fills of one side, in rupees, for `values` in rupees of any shape.

        Agrees with `total` to the paisa: values are taken to the nearest paisa, then it is integer arithmetic. Raises
        BadInput for a negative or non-finite value, or one above about Rs 4 billion.
        """
        if not np.all(np.isfinite(values)) or np.any(values < 0):
            raise BadInput("charges: an order value in the array is negative or not a number")
        paise = np.floor(np.asarray(values, dtype=np.float64) * 100.0 + 0.5).astype(np.int64)
        rate = self._buy if side is Side.BUY else self._sell
        divisor = int(np.gcd(rate, _SCALE))
        rate, scale = rate // divisor, _SCALE // divisor
        if paise.size and int(paise.max()) > (_INT64_SAFE - scale) // max(rate, 1):
            raise BadInput(f"charges: an order value of Rs {values.max():.0f} is too large for the array version")
        total = (paise * rate + scale // 2) // scale
        if side is Side.SELL:
            total = total + np.where(np.asarray(first_sale_today) & (paise > 0), int(self.depository), 0)
        result: NDArray[np.float64] = total / 100.0
        return result


def _rate(rows: _Rows, session: date) -> int:
    return rows[bisect_right(rows, session, key=lambda row: row[0]) - 1][1]


class DeliveryCharges:
    """The dated table of levies, with one broker's own charges."""

    __slots__ = ("_assume_earliest", "_brokerage", "_by_date", "_by_period", "_depository", "_starts")

    def __init__(self, *, depository: _Rows = DEPOSITORY, brokerage: int = 0, assume_earliest: bool = False) -> None:
        """`depository` are dated rows in paise; `brokerage` is in units of 1e-9 of the value (0.1 % = 1,000,000).

        `assume_earliest` gives sessions before `COVERED_FROM` that day's rates: an assumption, for stress runs over old
        crashes alone, and whoever asks for it has to say so in what it reports.
        """
        if brokerage < 0 or not depository or any(amount < 0 for _, amount in depository):
            raise BadInput("charges: brokerage and depository charge must be zero or more")
        if depository[0][0] > COVERED_FROM:
            raise BadInput(f"charges: the depository charge begins on {depository[0][0]}, allowed: by {COVERED_FROM}")
        self._depository = tuple(sorted(depository))
        self._brokerage = brokerage
        self._assume_earliest = assume_earliest
        self._by_date: dict[date, ChargeRates] = {}
        # Rates hold from one of these dates to the next; a period is the number of them that have passed.
        tables = (STT, EXCHANGE, IPFT, SEBI, TAX, STAMP_BUY, STAMP_SELL, self._depository)
        self._starts = sorted({start for table in tables for start, _ in table})
        self._by_period: dict[int, ChargeRates] = {}

    @classmethod
    def default(cls) -> DeliveryCharges:
        """Return the charges of the default broker: no brokerage, Rs 15.34 per symbol and selling day."""
        return cls()

    def assumed_before(self, first: date) -> date | None:
        """Return the day before which a run that starts on `first` rests on assumed rates; None when it does not."""
        return COVERED_FROM if self._assume_earliest and first < COVERED_FROM else None

    def on(self, session: date) -> ChargeRates:
        """Return the rates of a session. Raises BadInput outside the table's coverage: a rate is never guessed.

        With `assume_earliest`, sessions before the coverage have the rates of its first day.
        """
        rates = self._by_date.get(session)
        if rates is None:
            rates = self._by_date[session] = self._look_up(session)
        return rates

    def _look_up(self, session: date) -> ChargeRates:
        if self._assume_earliest:
            session = max(session, COVERED_FROM)
        if not COVERED_FROM <= session <= COVERED_UNTIL:
            raise BadInput(f"charges: no rates for {session}, allowed: {COVERED_FROM} to {COVERED_UNTIL}")
        period = bisect_right(self._starts, session)
        rates = self._by_period.get(period)
        if rates is None:
            rates = self._by_period[period] = ChargeRates(
                _rate(STT, session),
                _rate(EXCHANGE, session) + _rate(IPFT, session),
                _rate(SEBI, session),
                self._brokerage,
                _rate(TAX, session),
                _rate(STAMP_BUY, session),
                _rate(STAMP_SELL, session),
                Paise(_rate(self._depository, session)),
            )
        return rates
