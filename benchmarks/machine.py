"""The machine and the versions that a measurement belongs to."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.implementations import IMPLEMENTATIONS
from microgradnet import __version__


def describe() -> dict[str, Any]:
    """Return the processor, the system, Python, NumPy's BLAS, and the packages that are compared."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    peers = [peer for peer in IMPLEMENTATIONS if peer.package != "microgradnet" and peer.present]
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": f"{blas['name']} {blas['version']}",
        "microgradnet": __version__,
        **{peer.package: peer.version for peer in peers},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
