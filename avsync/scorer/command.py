"""`avsync scorer`: train, evaluate and calibrate the scorer."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import NamedTuple


class _Sub(NamedTuple):
    help: str
    module: str
    add_arguments: str
    run: str


SUBCOMMANDS = {
    "train": _Sub(
        "train networks from synthetic speech and mouths, or adapt them to clips of your own",
        "avsync.scorer.training.command", "add_train_arguments", "run_train",
    ),
    "evaluate": _Sub(
        "how often is the scorer right on a folder of real clips?",
        "avsync.scorer.evaluation.command", "add_evaluate_arguments", "run_evaluate",
    ),
    "calibrate": _Sub(
        "set the bias and the confidence curve from the development half of a folder of clips",
        "avsync.scorer.evaluation.calibrate_command", "add_calibrate_arguments", "run_calibrate",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their arguments."""
    commands = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name, sub in SUBCOMMANDS.items():
        own = commands.add_parser(
            name,
            help=sub.help,
            description=sub.help,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        getattr(import_module(sub.module), sub.add_arguments)(own)


def run_command(args: argparse.Namespace) -> int:
    """Run the named subcommand; returns the exit code."""
    sub = SUBCOMMANDS[args.subcommand]
    return int(getattr(import_module(sub.module), sub.run)(args))
