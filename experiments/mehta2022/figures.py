"""How the experiments of this folder are called, how they write their figures, and what they say of several seeds.

Each is a module with `measured(quick) -> figures` (nested mappings of numbers, which JSON can hold) and
`table(figures) -> lines`, called as

    python experiments/mehta2022/NAME.py [--quick] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"
Figures = dict[str, Any]


def called(name: str, measured: Callable[[bool], Figures], table: Callable[[Figures], Sequence[str]]) -> None:
    """Run from the command line: print the table, and put the figures under `name` into a file if asked to."""
    arguments = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    arguments.add_argument("--quick", action="store_true", help="smaller, under a minute")
    arguments.add_argument("--out", type=Path, default=None, help="a JSON file that gets the figures under its name")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    figures = measured(given.quick)
    figures["cpu_seconds"] = round(time.process_time() - start, 1)
    print("\n".join(table(figures)))
    print(f"\n{figures['cpu_seconds']} CPU seconds, load of the machine {os.getloadavg()[0]:.1f}")
    if given.out:
        known = json.loads(given.out.read_text()) if given.out.exists() else {}
        given.out.write_text(json.dumps(known | {name: rounded(figures)}, indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(value, Mapping):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def spread(values: Sequence[float]) -> Figures:
    """Median, least and most of several seeds."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def shown(of: Mapping[str, float], digits: int = 2) -> str:
    """A spread as tables print it."""
    return f"{of['median']:.{digits}f} ({of['least']:.{digits}f} to {of['most']:.{digits}f})"
