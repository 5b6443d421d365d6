"""`mamlbench-data`: get datasets and check them ahead of time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mamlbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mamlbench.datasets import ImageDataset

NAMES = {
    "omniglot": "Omniglot",
    "mini_imagenet": "MiniImagenet",
    "tiered_imagenet": "TieredImagenet",
    "cifar_fs": "CifarFS",
    "fc100": "FC100",
    "celeba": "CelebA",
    "image_folder": "ImageFolder",
    "glyphs": "Glyphs",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all is well, 2 after a user's mistake."""
    parser = _parser()
    # argparse takes no more OPTION=VALUE after --root: what it leaves over is picked up here
    options, more = parser.parse_known_args(arguments)
    if any(word.startswith("-") or "=" not in word for word in more):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    try:
        if options.command == "list":
            _list(options.root)
        else:
            anew = options.command == "verify"
            _prepare(options.name, options.root, [*options.options, *more], anew)
    except UserError as error:
        print(f"mamlbench-data: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mamlbench-data", description="Get datasets and check them ahead of time."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--root", help="where datasets live (default: MAMLBENCH_DATA, or the cache folder)"
    )
    commands.add_parser("list", parents=[root], help="say which datasets are there")
    for name, says in (
        ("prepare", "download where that is allowed, decode, and cache"),
        ("verify", "hash the sources anew, and check counts and cache"),
    ):
        command = commands.add_parser(name, parents=[root], help=says)
        command.add_argument("name", metavar="NAME", help=", ".join(NAMES))
        command.add_argument(
            "options", metavar="OPTION=VALUE", nargs="*", help="the dataset's own, as resize=box"
        )
    return parser


def _dataset(name: str, root: str | None, options: Sequence[str] = ()) -> ImageDataset:
    from omegaconf import OmegaConf

    from mamlbench import datasets
    from mamlbench.config import construct, constructor_options, plain

    if name not in NAMES:
        near = did_you_mean(name, NAMES)
        raise UserError(f"no dataset {name}: accepted is {', '.join(NAMES)}{near}")
    cls: type[ImageDataset] = getattr(datasets, NAMES[name])
    values = plain(OmegaConf.from_dotlist(list(options)))
    if root is not None and "root" in constructor_options(cls)[0]:
        values["root"] = root
    return construct(cls, values, "")


def _list(root: str | None) -> None:
    from mamlbench.datasets.store import data_root

    print(f"in {data_root(root)}:")
    for name in NAMES:
        # a user's own pictures are where the user says; `root` is of the others
        dataset = _dataset(name, None if name == "image_folder" else root)
        print(f"  {name:<15} {'there' if dataset.available else 'not there'}")


def _prepare(name: str, root: str | None, options: Sequence[str], anew: bool) -> None:
    """Decode and cache, or with `anew` hash everything again."""
    from mamlbench.datasets.store import ImageSet

    dataset = _dataset(name, root, options)
    images = dataset.read(fresh=anew)
    if anew and ImageSet.of(images.images, images.classes, images.counts).sha256 != images.sha256:
        raise UserError(f"{name}: the cache differs from the images it was made of")
    print(f"{name}: {'verified' if anew else 'ready'}, sha256 {images.sha256}")
    for line in dataset.describe(images):
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
