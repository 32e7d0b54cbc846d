"""The one command, ``avsync``. Subcommands import what they need when they run.

Exit codes, for scripts: 0 every limit met; 1 a limit missed (or a replay that differs or was cut); 2 bad
input, found before anything ran; 3 the host was too busy to judge (``glass``); 70 our own fault;
74 no room to write what came of it; 130 interrupted; 141 nobody read our output.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from avsync.errors import InputError
from avsync.version import spoken

LAB_NEEDS = ("numpy", "pydantic", "rich", "simpy", "yaml")
MET, MISSED, BAD_INPUT, OUR_FAULT, NOT_WRITTEN, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 70, 74, 130, 141
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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
    "attack": Subcommand(
        "look for calls that nobody scripted and that go wrong", "attack", (*LAB_NEEDS, "hypothesis"),
        "sim.attack.command", "add_arguments", "run_command",
    ),
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

EXAMPLES = {
    "run": """\
examples:
  avsync run                                      four named scenarios: video_stall, audio_stall,
                                                  jitter_burst, bridge_clock_drift
  avsync run --all                                every shipped scenario, both viewers
  avsync run video_stall --seeds 1,2,3            one of them, by name
  avsync run my_call.yaml --viewer browser        your own file, one viewer
  avsync run video_stall --compare fps_paced two_clocks
                                                  other policies on the same network
  avsync run video_stall --policy mine.toml       a policy of your own
  avsync run clean --network trace.csv@to_viewer  on a recorded network
  avsync run clean --clip talk.mp4                frames that weigh what real ones do

exit codes: 0 limits met, 1 a limit missed, 2 bad input, 70 our own fault, 74 no room to write, 130 interrupted
""",
    "replay": """\
example:
  avsync replay results/20261120T210000Z-1a2b/recordings/clean-browser-1-sender.jsonl
""",
    "list": """\
examples:
  avsync list                                     the shipped scenarios
  avsync list metrics                             what may be limited, and what it means
  avsync list policies
  avsync list schema > scenario.schema.json       for completion in an editor
""",
    "explain": """\
examples:
  avsync explain offset_abs_p95_ms                a metric
  avsync explain stall                            a step
  avsync explain webrtc-3g-average                a network
  avsync explain patient                          a policy
  avsync explain late_video_ms                    a number of a policy
  avsync explain source.video.resume              a key; its last word is enough
  avsync explain belief                           a word of the docs and the tables
""",
    "new": """\
example:
  avsync new my_call && avsync show my_call.yaml && avsync run my_call.yaml
""",
    "show": """\
examples:
  avsync show video_stall
  avsync show my_call.yaml --plot timeline.png
""",
}
LISTS = ("scenarios", "keys", "steps", "metrics", "networks", "policies", "policy-fields", "words", "schema")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # as a program: told to end, it ends as by Ctrl-C, with its workers and nothing half-written
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            signal.signal(number, signal.default_int_handler)
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
            code = int(getattr(import_module(part.module), part.run)(args))
        else:
            code = _replay(args) if args.command == "replay" else _lab(args)
        sys.stdout.flush()  # a full disk is told here, not at Python's exit
        return code
    except InputError as error:
        print(f"avsync: {_visible(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("avsync: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        _drop_output()
        return BROKEN_PIPE
    except Exception as error:  # whatever else it is, it is ours: say so, with all there is to know
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return _not_written(error)
        traceback.print_exc()
        print("avsync: this is a fault of avsync itself, not of your input", file=sys.stderr)
        return OUR_FAULT


def _not_written(error: OSError) -> int:
    where = f"{error.filename}: " if error.filename else ""
    print(
        f"avsync: {_visible(where)}cannot write: {error.strerror}\n  make room there, or write elsewhere",
        file=sys.stderr,
    )
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return NOT_WRITTEN


def _drop_output() -> None:
    """What nobody takes any more: Python would complain of it at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(named: str) -> argparse.ArgumentParser:
    """``named``: the one part whose arguments are wanted; the others are only listed."""
    parser = argparse.ArgumentParser(
        prog="avsync", description="Keep a talking avatar's lips and voice together, and prove it.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=spoken(), help="print the version and which build it is")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    replay = _command(
        commands, "replay", "run a recording again and stop at the first answer that differs",
        "Feed a recording to this version's engine. Exits 1 at the first answer that differs, or where it was cut.",
    )  # fmt: skip
    replay.add_argument("file", type=Path, metavar="FILE", help="a recording (JSONL, plain or .gz)")
    listed = _command(commands, "list", "the shipped scenarios; or all metrics, policies, networks, steps, keys")
    listed.add_argument("what", nargs="?", choices=LISTS, default="scenarios", metavar="WHAT", help=", ".join(LISTS))
    explain = _command(commands, "explain", "what a word of a scenario or a result means, with unit and an example")
    explain.add_argument(
        "word", metavar="WORD", help="a metric, step, network, policy, policy field, key or word of the docs"
    )
    new = _command(commands, "new", "write a commented scenario that passes, to begin from")
    new.add_argument("name", metavar="NAME", help="it will lie in NAME.yaml")
    show = _command(commands, "show", "draw a scenario's timeline before anything runs")
    show.add_argument("file", metavar="SCENARIO", help="a shipped name or a file")
    show.add_argument("--plot", "--out", type=Path, metavar="FILE.png", help="also as a picture")
    for name, part in PARTS.items():
        own = commands.add_parser(name, help=part.help, description=part.help, allow_abbrev=False)
        if name == named:
            getattr(import_module(part.module), part.add_arguments)(own)
    return parser


def _command(commands: Any, name: str, help: str, description: str = "") -> argparse.ArgumentParser:
    """A subcommand with its examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description or help[0].upper() + help[1:] + ".",
        epilog=EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", "replay scenarios in virtual time and judge them against the truth")
    words = "a folder, a shipped name or a file (four named ones)"
    run.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=words)
    run.add_argument("--all", action="store_true", help="every shipped scenario but the slow ones")
    run.add_argument("--seed", type=_whole_number, metavar="N", help="one seed instead of the scenario's own")
    run.add_argument("--seeds", type=_whole_numbers, metavar="N,N,...", help="these seeds")
    viewers = ("browser", "avsync", "both")
    run.add_argument("--viewer", choices=viewers, help="who watches (as the file says; else both)")
    policy = "a preset or a TOML file instead of the scenario's own policy"
    run.add_argument("--policy", metavar="NAME|FILE", help=policy)
    compare = "these policies (presets or TOML files) beside it, on the same network"
    run.add_argument("--compare", nargs="+", default=[], metavar="POLICY", help=compare)
    network = "a recorded network on a leg: to_viewer (the way to the viewer) or to_bridge"
    run.add_argument("--network", action="append", default=[], metavar="FILE[@LEG]", help=network)
    run.add_argument("--clip", type=Path, metavar="FILE", help="take frame sizes and rate from this media file")
    run.add_argument("--jobs", type=int, metavar="N", help="processes (one per core)")
    run.add_argument("--slow", action="store_true", help="also those tagged slow")
    run.add_argument("--record", action="store_true", help="keep every call and answer of each engine, for replay")
    scorer = "real sound and pictures, judged by the scorer at the viewer"
    run.add_argument("--scorer", action="store_true", help=scorer)
    run.add_argument("--no-baselines", action="store_true", help="do not check that the baselines miss")
    run.add_argument("--no-plots", action="store_true", help="no pictures and no HTML")
    run.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="where results go (./results)")
    run.add_argument("--json", action="store_true", help="rows as JSON on stdout, the rest on stderr")


def _visible(text: str) -> str:
    """Control characters as escapes: the name of a file may hold some, and a terminal would act upon them."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def _whole_number(text: str) -> int:
    numbers = _whole_numbers(text)
    if len(numbers) > 1:
        raise argparse.ArgumentTypeError(f"expected one whole number, got {text!r}: see --seeds")
    return numbers[0]


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


def _lab(args: argparse.Namespace) -> int:
    if not _installed(LAB_NEEDS, "lab"):
        return BAD_INPUT
    if args.command == "run":
        from sim.command import run_command

        return MET if run_command(args) else MISSED
    from sim import reference_command as look_up

    commands = {
        "list": look_up.list_command,
        "explain": look_up.explain_command,
        "new": look_up.new_command,
        "show": look_up.show_command,
    }
    commands[args.command](args)
    return MET


def _replay(args: argparse.Namespace) -> int:
    from avsync.recording.replay import replay_file

    replay = replay_file(args.file)
    print(replay)
    return MET if replay.same else MISSED


if __name__ == "__main__":
    sys.exit(main())
