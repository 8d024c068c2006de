"""`python -m bench NAME [--json]`: run one benchmark, or `all`."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable

from bench import decision, gate, latency, replay, startup, stop
from bench.report import Ratio, machine


def _latency() -> list[Ratio]:
    found = asyncio.run(latency.measure(1_500))
    first, commit = latency.percentiles(found.first_byte), latency.percentiles(found.commit)
    names = ("p50", "p99", "p99.9")
    targets = {"p50": "target commit + 0.7 ms", "p99": "target commit + 2 ms", "p99.9": "rests on one or two samples"}
    return [
        Ratio(
            f"ms bar received to first order byte, {name}", ours, base, f"baseline: the durable commit; {targets[name]}"
        )
        for name, ours, base in zip(names, first, commit, strict=True)
    ]


BENCHES: dict[str, Callable[[], list[Ratio]]] = {
    "observation": decision.bench_observation,
    "policy": decision.bench_policy,
    "gate": gate.bench,
    "replay": replay.bench,
    "latency": _latency,
    "startup": startup.bench,
    "stop": stop.bench,
}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=[*BENCHES, "all"], help="which benchmark")
    parser.add_argument("--json", action="store_true", help="print one JSON object a benchmark")
    arguments = parser.parse_args()
    for name in BENCHES if arguments.name == "all" else [arguments.name]:
        ratios = BENCHES[name]()
        if arguments.json:
            print(json.dumps({"name": name, "ratios": [ratio.to_json() for ratio in ratios], "machine": machine()}))
            continue
        print(f"{name}")
        for ratio in ratios:
            print(
                f"  {ratio.what:<52} {ratio.ours:>14,.3f} / {ratio.baseline:>14,.3f} = {ratio.ratio:>9,.2f}  {ratio.note}"
            )


if __name__ == "__main__":
    main()
