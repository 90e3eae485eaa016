"""Why people forget: mislabelled rows, poison, an unfair effect, one person. Find, forget, prove, on real data.

    python experiments/why_people_forget/run.py [--quick] [--seeds K] [--only NAME ...] [--out FILE.json]

One thread. `--quick` takes 400 rows of scikit-learn's digits and the least of everything else, in under a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import mislabelled
import person
import poisoned
import subgroup

EXPERIMENTS = {"mislabelled": mislabelled, "poisoned": poisoned, "subgroup": subgroup, "person": person}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the least of everything")
    parser.add_argument("--seeds", type=int, default=3, metavar="K", help="how many splits and trainings")
    parser.add_argument("--only", nargs="+", choices=sorted(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    given = parser.parse_args(arguments)
    results = {}
    for name in given.only:
        started = time.process_time()
        results[name] = EXPERIMENTS[name].run(given.quick, 1 if given.quick else given.seeds)
        if results[name]:
            print(f"\n## {name} ({time.process_time() - started:.0f} s)\n")
            print("\n".join(EXPERIMENTS[name].table(results[name])), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
