"""Many random models of the standard's operators, single ones and chains of three, against their two peers.

    python -m tests.differential.standard.campaign --cases 20000 --seed 7 [NAME ...]

Half of the cases are chains, the others single operators in turn. Prints a row an operator: how often the
peers agreed, differed, or one of them refused, and what was wrong; then every model that was.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.differential.case import drawn
from tests.differential.standard.judge import judge
from tests.differential.standard.net import NoFormError
from tests.differential.standard.table import CHAINS, STANDARD


def plan(cases: int, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Names of families and numbers of their cases, `cases` in all."""
    singles = [name for name in STANDARD if name != CHAINS]
    chosen = list(names) or singles
    of_chains = 0 if names else cases // 2
    for name in chosen:
        yield from ((name, number) for number in range((cases - of_chains) // len(chosen)))
    yield from ((CHAINS, number) for number in range(of_chains))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description="random models against onnxruntime and the standard")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="models to print an operator")
    parser.add_argument("names", nargs="*", help="operators, or Chain; all where none is given")
    given = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    rows: dict[str, Counter[str]] = {}
    for name, number in plan(given.cases, given.names):
        row = rows.setdefault(name, Counter())
        try:
            case = drawn(STANDARD[name], name, given.seed, number)
        except NoFormError:
            row["no model"] += 1
            continue
        found = judge(case)
        row[found.peers] += 1
        if found.objection:
            row["WRONG"] += 1
            if row["WRONG"] <= given.show:
                print(f"{name} seed {given.seed} case {number}: {found.objection}\n{case}", flush=True)
    for name, row in rows.items():
        total += row
        print(f"{name:28} {dict(row)}", flush=True)
    print(f"all of seed {given.seed}: {dict(total)}", flush=True)
    return 1 if total["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
