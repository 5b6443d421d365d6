"""`mamlbench-data`: download and check datasets ahead of time; turn images into embeddings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamlbench.cli.arguments import OneLineParser, exit_code_of
from mamlbench.errors import UserError, did_you_mean
from mamlbench.files import read_errors

if TYPE_CHECKING:
    from mamlbench.datasets import ImageDataset

EMBED = "train a network on the meta-train classes, write its features for dataset=embeddings"
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
    """Run the command: 0 on success, 2 after a user's mistake, 75 if another process is at work."""
    return exit_code_of("mamlbench-data", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    # argparse accepts no OPTION=VALUE after --root, so the remaining arguments are parsed here
    options, more = parser.parse_known_args(arguments)
    if any(word.startswith("-") or "=" not in word for word in more):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    with read_errors():
        if options.command == "list":
            _list(options.root)
        elif options.command == "embed":
            _embed(options, [*options.options, *more])
        else:
            anew = options.command == "verify"
            _prepare(options.name, options.root, [*options.options, *more], anew)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        "mamlbench-data", description="Get datasets and check them ahead of time."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    root = OneLineParser(add_help=False)
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
    _add_embed(commands.add_parser("embed", parents=[root], help=EMBED))
    return parser


def _add_embed(command: argparse.ArgumentParser) -> None:
    command.description = EMBED
    command.add_argument("name", metavar="NAME", help=", ".join(NAMES))
    command.add_argument("options", metavar="OPTION=VALUE", nargs="*", help="the dataset's own")
    for flag, kind, default, says in (
        ("--network", str, "wrn28_10", "wrn28_10, wrn16_4 or small (for a CPU)"),
        ("--epochs", int, 60, "passes over the meta-train images"),
        ("--batch", int, 64, "images in a step"),
        ("--lr", float, 0.05, "step size at the start; it falls to 0"),
        ("--weight-decay", float, 5e-4, "of all parameters"),
        ("--seed", int, 0, "of initial parameters and order"),
        ("--device", str, "cpu", "cpu or cuda"),
        ("--threads", int, None, "CPU threads (default: one a core)"),
        ("--out", Path, None, "the file to write (default: embeddings.npz where datasets live)"),
    ):
        shown = "" if default is None else f" (default: {default})"
        command.add_argument(flag, type=kind, default=default, help=says + shown)
    command.add_argument("--flip", action="store_true", help="mirror pictures at random")


def _dataset(name: str, root: str | None, options: Sequence[str] = ()) -> ImageDataset:
    from mamlbench import datasets
    from mamlbench.config.build import construct, constructor_options

    if name not in NAMES:
        near = did_you_mean(name, NAMES)
        raise UserError(f"no dataset {name}: accepted is {', '.join(NAMES)}{near}")
    cls: type[ImageDataset] = getattr(datasets, NAMES[name])
    values = _values(options)
    if root is not None and "root" in constructor_options(cls)[0]:
        values["root"] = root
    return construct(cls, values, "")


def _values(options: Sequence[str]) -> dict[str, Any]:
    """Parse OPTION=VALUE arguments.

    Raises:
        UserError: a value is not valid YAML.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import GrammarParseError
    from yaml import YAMLError

    from mamlbench.config.build import plain

    values = OmegaConf.create()
    for option in options:
        try:
            values.merge_with_dotlist([option])
        except (YAMLError, GrammarParseError) as error:
            accepted = "a value in YAML, with signs of its own in quotes: \"option='...'\""
            raise UserError(f"{option}: cannot be read; accepted is {accepted}") from error
    return dict(plain(values))


def _list(root: str | None) -> None:
    from mamlbench.datasets.store import data_root

    print(f"in {data_root(root)}:")
    for name in NAMES:
        # `image_folder` has no place below `root`: the user names its folder
        dataset = _dataset(name, None if name == "image_folder" else root)
        print(f"  {name:<15} {'there' if dataset.available else 'not there'}")


def _prepare(name: str, root: str | None, options: Sequence[str], anew: bool) -> None:
    """Decode and cache a dataset; with `anew`, hash its sources again."""
    dataset = _dataset(name, root, options)
    images = dataset.read(fresh=anew)
    print(f"{name}: {'verified' if anew else 'ready'}, sha256 {images.sha256}")
    for line in dataset.describe(images):
        print(f"  {line}")


def _embed(options: argparse.Namespace, own: Sequence[str]) -> None:
    """Train a classifier and write the embeddings; the same command resumes after a stop."""
    from mamlbench.datasets.embeddings import FILE, read_embeddings
    from mamlbench.datasets.store import data_root
    from mamlbench.embed import Pretraining, embed
    from mamlbench.files import disk_errors
    from mamlbench.hardware.device import Hardware
    from mamlbench.locks import only_one

    hardware = Hardware(device=options.device, threads=options.threads)
    names = Pretraining.__dataclass_fields__
    pretraining = Pretraining(**{name: getattr(options, name) for name in names})
    dataset = _dataset(options.name, options.root, own)
    out: Path = options.out or data_root(options.root) / FILE
    device = hardware.torch_device
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with only_one(out.with_name(f"{out.name}.lock"), str(out)):
        if out.exists():
            raise UserError(f"--out {out}: is there already; accepted is a new file")
        hardware.apply(2**30)
        embed(dataset, pretraining, out, device, lambda line: print(line, flush=True))
    found = read_embeddings(out)
    print(f"{out}: {len(found.images)} embeddings of width {found.images.shape[1]}")
    print(f"mamlbench dataset=embeddings dataset.root={out} dataset.width={found.images.shape[1]}")


if __name__ == "__main__":
    sys.exit(main())
