"""Downloads with checksums, and what to do by hand when they fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from mamlbench.errors import UserError


@dataclass(frozen=True)
class Remote:
    """A file on the network, and its checksum in pooch's notation."""

    url: str
    checksum: str


_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
OMNIGLOT = {
    "images_background": Remote(
        f"{_OMNIGLOT}/images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"
    ),
    "images_evaluation": Remote(
        f"{_OMNIGLOT}/images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"
    ),
}
CIFAR100 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "md5:eb9058c3a382ffc7106e4002c42a8d85",
)


def fetch_file(remote: Remote, path: Path) -> Path:
    """Download `remote` to `path`, whole or not at all.

    Raises:
        UserError: the download failed; says what to fetch by hand and where to put it.
    """
    pooch.get_logger().setLevel("WARNING")
    with _bar() as progress:
        downloader = pooch.HTTPDownloader(progressbar=_Bar(progress, path.name), timeout=30)
        try:
            pooch.retrieve(
                remote.url, remote.checksum, path.name, path.parent, downloader=downloader
            )
        except (OSError, ValueError) as error:
            offline = isinstance(error, (requests.ConnectionError, requests.Timeout))
            reason = f"no answer from {urlsplit(remote.url).hostname}" if offline else str(error)
            raise UserError(
                f"{path}: missing, and the download failed ({reason}): "
                f"fetch {remote.url} by hand and put it at {path}"
            ) from error
    return path


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


class _Bar:
    """A rich progress bar with the methods that pooch calls."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._task = progress, progress.add_task(f"fetching {name}", total=None)
        self.total: float = 0.0

    def update(self, amount: float) -> None:
        self._progress.update(self._task, total=self.total, advance=amount)

    def reset(self) -> None:
        self._progress.reset(self._task, total=self.total)

    def close(self) -> None:
        self._progress.stop()
