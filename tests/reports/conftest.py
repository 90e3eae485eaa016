"""Reports are tested on audits of the toys that stand beside the audits' tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "audits"))
