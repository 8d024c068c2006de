"""Prints what `mutmut run` found: the score of each module, and every mutant that no test noticed.

A mutant that ran into its time limit counts as killed (it loops for ever); one that no test calls counts as survived.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mutmut.stats import status_by_exit_code

RESULTS = Path("mutants")


def main() -> int:
    """Print the table and the survivors; the exit code says whether there is a result at all."""
    rows, survivors = [], []
    for file in sorted(RESULTS.rglob("*.meta")):
        verdicts = {
            name: status_by_exit_code[code] for name, code in json.loads(file.read_text())["exit_code_by_key"].items()
        }
        if not verdicts:
            continue
        counted = [list(verdicts.values()).count(status) for status in ("killed", "timeout")]
        rows.append((str(file.relative_to(RESULTS)).removesuffix(".py.meta"), len(verdicts), *counted))
        survivors += [f"{name}: {status}" for name, status in verdicts.items() if status not in ("killed", "timeout")]
    if not rows:
        print("no results: run `make mutants`", file=sys.stderr)
        return 1
    rows.append(("all", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    print("\n".join(survivors))
    print("| module | mutants | killed | of these by time limit | survived | score |\n|---|---|---|---|---|---|")
    for name, total, killed, late in rows:
        done = killed + late
        print(f"| {name} | {total} | {done} | {late} | {total - done} | {100.0 * done / total:.1f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
