"""A progress bar, where there is somebody to see it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from microgradnet.train.records import Batch


class Bar:
    """A progress bar over the examples of all epochs, where there is somebody to see it."""

    PAUSE = 0.1  # seconds between two pictures of the bar

    def __init__(self, wanted: bool | None, epochs: int) -> None:
        watched = (sys.stderr is not None and sys.stderr.isatty()) or _in_notebook()
        self.tqdm: Any = _tqdm(required=bool(wanted)) if wanted or (wanted is None and watched) else None
        self.epochs = epochs
        self.bar: Any = None
        self.drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def wrap(self, on_batch: Callable[[Batch], None] | None) -> Callable[[Batch], None] | None:
        """Return what is to be called after every step: the bar, and then ``on_batch``."""
        if self.tqdm is None:
            return on_batch
        if on_batch is None:
            return self.draw

        def both(batch: Batch) -> None:
            self.draw(batch)
            on_batch(batch)

        return both

    def draw(self, batch: Batch) -> None:
        """Show where training is, unless that was shown just now."""
        now = time.monotonic()
        if self.bar is None:
            self.bar = self.tqdm(
                total=batch.examples * self.epochs,
                bar_format="{desc} |{bar:24}| {percentage:3.0f} %, {remaining} left",
                leave=False,
                dynamic_ncols=True,
            )
        elif now - self.drawn < self.PAUSE:
            return
        self.drawn = now
        self.bar.n = batch.examples * (batch.epoch - 1) + batch.done
        means = [f"{name} {value:.4f}" for name, value in batch.means.items()]
        self.bar.set_description_str("  ".join([f"epoch {batch.epoch}/{self.epochs}", *means]))

    def clear(self) -> None:
        """Wipe the bar off its line, which may be written on then."""
        if self.bar is not None:
            self.bar.clear()


def _in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, and not only beside its packages."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython else None, "kernel")


def _tqdm(*, required: bool) -> Any:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        if required:
            raise ModuleNotFoundError(
                "a progress bar needs tqdm: pip install 'microgradnet[progress]'"
            ) from None
        return None
    return tqdm
