"""``python -m microgradnet``, the same as the command ``microgradnet``."""

import sys

from microgradnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
