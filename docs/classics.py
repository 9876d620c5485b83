"""Run the classics, all or those named, and put what they print and draw into the gallery.

python docs/classics.py [name …]; all of them take minutes.
"""

import contextlib
import io
import os
import re
import runpy
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gallery.md"
# A section's command, and the block of its output; the name of the picture may be missing.
SHOWN = re.compile(
    r"```sh\npython (examples/classics/(\w+)\.py)(?: (\S+))?\n```\n\n```text\n(.*?)```", re.DOTALL
)


def output(script: str, picture: str | None) -> str:
    """Return what a script prints, run as its command does, in the project's folder."""
    sys.argv = [script, *([picture] if picture else [])]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(script, run_name="__main__")
    return printed.getvalue()


if __name__ == "__main__":
    names = sys.argv[1:]
    os.chdir(ROOT)  # the commands name paths of the project
    for found in list(SHOWN.finditer(PAGE.read_text(encoding="utf-8"))):
        script, name, picture, before = found.groups()
        if not names or name in names:
            start = time.perf_counter()
            command = found.group().removesuffix(f"{before}```")
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(
                page.replace(found.group(), f"{command}{output(script, picture)}```"), encoding="utf-8"
            )
            print(f"{name}: {time.perf_counter() - start:.1f} s")
