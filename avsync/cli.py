"""The one command, ``avsync``. Subcommands import what they need when they run.

Exit codes, for scripts: 0 every limit met; 1 a limit missed (or a replay that differs); 2 bad
input, found before anything ran; 3 the host was too busy to judge (``glass``); 70 our own fault;
130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from avsync.errors import InputError

LAB_NEEDS = ("numpy", "pydantic", "rich", "simpy", "yaml")
MET, MISSED, BAD_INPUT, OUR_FAULT, INTERRUPTED = 0, 1, 2, 70, 130


class Subcommand(NamedTuple):
    """A subcommand that lives with its part: imported when it is named, and not before."""

    help: str
    extra: str
    needs: tuple[str, ...]
    module: str
    add_arguments: str
    run: str


_SERVER, _SERVER_NEEDS = "avsync.server.command", ("aiohttp", "aiortc", "av", "numpy")
_SCORER_NEEDS = ("numpy", "rich")
PARTS = {
    "score": Subcommand(
        "are lips and voice together in this clip? which way, by how much, how sure?", "scorer",
        (*_SCORER_NEEDS, "av", "ai_edge_litert"), "avsync.scorer.score.command",
        "add_score_arguments", "run_score",
    ),
    "scorer": Subcommand(
        "train, evaluate and calibrate the scorer behind `avsync score`", "scorer", (*_SCORER_NEEDS, "av"),
        "avsync.scorer.command", "add_arguments", "run_command",
    ),
    "serve": Subcommand(
        "stream an avatar to a browser, and show what arrives there", "server", _SERVER_NEEDS, _SERVER,
        "add_serve_arguments", "run_serve",
    ),
    "glass": Subcommand(
        "measure the offset where a real browser shows it", "glass", (*LAB_NEEDS, *_SERVER_NEEDS, "playwright"),
        "sim.glass.command", "add_arguments", "run_command",
    ),
    "demo-media": Subcommand(
        "write a clip as frames and a WAV file, for models that want files", "server", _SERVER_NEEDS, _SERVER,
        "add_demo_media_arguments", "run_demo_media",
    ),
}  # fmt: skip

RUN_EXAMPLES = """\
examples:
  avsync run scenarios/                           every shipped scenario, both viewers
  avsync run video_stall --seeds 1,2,3            one of them, by name
  avsync run my_call.yaml --viewer browser        your own file, one viewer
  avsync run video_stall --compare fps_paced two_clocks
                                                  other policies on the same weather
  avsync run clean --network trace.csv@to_viewer  on a recorded network
  avsync run clean --clip talk.mp4                frames that weigh what real ones do

exit codes: 0 limits met, 1 a limit missed, 2 bad input, 70 our own fault, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    part = PARTS.get(words[0]) if words else None
    if part is not None and not _installed(part.needs, part.extra):
        return BAD_INPUT
    parser = _parser(words[0] if part is not None else "")
    args = parser.parse_args(words)
    args.words = words
    if args.command is None:
        parser.print_help()
        return BAD_INPUT
    try:
        if part is not None:
            return int(getattr(import_module(part.module), part.run)(args))
        return {"run": _run, "replay": _replay, "list": _list}[args.command](args)
    except InputError as error:
        print(f"avsync: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("avsync: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception:  # whatever it is, it is ours: say so, with all there is to know
        traceback.print_exc()
        print("avsync: this is a fault of avsync itself, not of your input", file=sys.stderr)
        return OUR_FAULT


def _parser(named: str) -> argparse.ArgumentParser:
    """``named``: the one part whose arguments are wanted; the others are only listed."""
    parser = argparse.ArgumentParser(
        prog="avsync", description="Keep a talking avatar's lips and voice together, and prove it.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="replay scenarios in virtual time and judge them against the truth",
        description="Replay scenarios in virtual time and judge them against the truth.",
        epilog=RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="a folder, a shipped name or a file (scenarios/)")
    run.add_argument("--seed", type=int, metavar="N", help="one seed instead of the scenario's own")
    run.add_argument("--seeds", type=_whole_numbers, metavar="N,N,...", help="these seeds")
    run.add_argument(
        "--viewer", choices=("browser", "avsync", "both"), help="who watches (as the file says; else both)"
    )
    run.add_argument("--policy", metavar="NAME", help="a preset instead of the scenario's own policy")
    run.add_argument(
        "--compare", nargs="+", default=[], metavar="POLICY", help="these policies beside it, same weather"
    )
    run.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="FILE[@LEG]",
        help="a recorded network on to_viewer or to_bridge",
    )
    run.add_argument("--clip", type=Path, metavar="FILE", help="take frame sizes and rate from this media file")
    run.add_argument("--jobs", type=int, metavar="N", help="processes (one per core)")
    run.add_argument("--slow", action="store_true", help="also those tagged slow")
    run.add_argument("--record", action="store_true", help="keep what each engine was told and answered")
    run.add_argument(
        "--scorer", action="store_true", help="real sound and pictures, judged by the scorer at the viewer"
    )
    run.add_argument("--no-baselines", action="store_true", help="do not check that the baselines miss")
    run.add_argument("--no-plots", action="store_true", help="no pictures and no HTML")
    run.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="where results go (./results)")
    run.add_argument("--json", action="store_true", help="rows as JSON on stdout, the rest on stderr")
    replay = commands.add_parser(
        "replay",
        help="run a recording again and stop at the first answer that differs",
        description="Feed a recording to this version's engine. Exits 1 at the first answer that differs.",
        epilog="example:\n  avsync replay results/20261120T210000Z-1a2b/recordings/clean-browser-1-sender.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="a recording (JSONL, plain or .gz)")
    commands.add_parser("list", help="the shipped scenarios, with a sentence each")
    for name, part in PARTS.items():
        own = commands.add_parser(name, help=part.help, description=part.help, allow_abbrev=False)
        if name == named:
            getattr(import_module(part.module), part.add_arguments)(own)
    return parser


def _whole_numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 1,2,3, got {text!r}") from None
    if len(set(numbers)) != len(numbers) or min(numbers) < 0 or len(numbers) > 10_000:
        raise argparse.ArgumentTypeError(f"seeds are different whole numbers from 0, got {text!r}")
    return numbers


def _installed(needs: Sequence[str], extra: str) -> bool:
    """True where all of them are; else says how to get them."""
    for name in needs:
        if find_spec(name) is None:
            print(f"avsync: this needs {name}, not installed\n  pip install 'avsync[{extra}]'", file=sys.stderr)
            return False
    return True


def _run(args: argparse.Namespace) -> int:
    if not _installed(LAB_NEEDS, "lab"):
        return BAD_INPUT
    from sim.command import run_command

    return MET if run_command(args) else MISSED


def _replay(args: argparse.Namespace) -> int:
    from avsync.recording.recording import replay_file

    replay = replay_file(args.file)
    print(replay)
    return MET if replay.difference is None else MISSED


def _list(_args: argparse.Namespace) -> int:
    if not _installed(LAB_NEEDS, "lab"):
        return BAD_INPUT
    from sim.command import list_command

    list_command()
    return MET


if __name__ == "__main__":
    sys.exit(main())
