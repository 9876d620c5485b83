"""The report of a training: one self-contained page, or one that follows it while it runs."""

from microgradnet.report.contents import Run, render, waiting, write
from microgradnet.report.live import Live

__all__ = ["Live", "Run", "render", "waiting", "write"]
