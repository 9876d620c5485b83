"""Make docs/operations.md from the table of operations."""

from pathlib import Path

from microgradnet.ops.table import markdown

Path(__file__).with_name("operations.md").write_text(markdown(), encoding="utf-8")
