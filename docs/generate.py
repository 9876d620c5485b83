"""Make everything in docs/ that is generated, by running the make_*.py beside this file: make docs."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    for script in sorted(Path(__file__).parent.glob("make_*.py")):
        print(f"running {script.name}")
        runpy.run_path(str(script), run_name="__main__")
