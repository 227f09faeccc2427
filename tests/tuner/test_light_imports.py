"""What measures nothing loads no learned model."""

import subprocess
import sys


def test_a_run_loads_its_models_where_it_measures() -> None:
    program = """
import sys
import tilewright.tuner.run
import tilewright.tuner.verbs.ranges
print(*sorted({"ray", "scipy", "xgboost"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
