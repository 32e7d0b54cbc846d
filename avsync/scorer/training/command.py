"""``avsync scorer train``: networks from synthetic speech and mouths, or adapted to clips of the user's own."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from avsync.errors import InputError
from avsync.scorer.training.progress import Progress, shown_as_bars

if TYPE_CHECKING:
    from avsync.scorer.training.fit import Pair

NETS: Final = ("geometry", "pixels")
FILMED: Final = 300
"""Of the utterances, so many are filmed for the pixels' network: pictures are dear."""

EPILOG: Final = """\
examples:
  avsync scorer train --out mine                     both networks, as the shipped ones were made (needs espeak-ng)
  avsync scorer train --out mine --only geometry     one of them
  avsync scorer train --out other --seed 1           another seed; compare with `avsync scorer evaluate --weights other`
  avsync scorer train --out mine --clips footage     the shipped networks adapted to your own clips

A training that was stopped goes on where it was when it is started again with the same --out. --clips wants a folder
with a manifest.csv (columns: file; if known ref_offset_ms, positive for audio late; speaker), of 3 minutes and 4
speakers at least; the gain is shown on speakers that were left out.
"""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``avsync scorer train``."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the weights go")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (0)")
    parser.add_argument("--only", choices=NETS, help="one of the networks")
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda (a GPU where there is one)")
    parser.add_argument("--utterances", type=int, metavar="N", help="synthetic utterances (as the shipped ones)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of each member (as the shipped ones)")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="adapt the shipped networks to these clips instead")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="with --clips: keep tracked faces here")


def run_train(args: argparse.Namespace) -> int:
    """0 when the weights were written. InputError where something is missing or the clips are too few."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise InputError("training needs torch", remedy="pip install 'avsync[scorer]'")
    if args.seed < 0 or (args.steps or 1) < 1 or (args.utterances or 8) < 8:
        raise InputError("--seed is 0 or more, --steps 1 or more, --utterances 8 or more")
    out = Console(highlight=False)
    device = _device(args.device)
    nets = (args.only,) if args.only else NETS
    args.out.mkdir(parents=True, exist_ok=True)
    if args.clips is not None:
        from avsync.scorer.training.adapt import adapt

        with shown_as_bars() as progress:
            for line in adapt(args.clips, args.out, nets, seed=args.seed, device=device, steps=args.steps,
                              cache=args.cache, progress=progress):  # fmt: skip
                out.print(line)
        return 0
    began_s = time.monotonic()
    with shown_as_bars() as progress:
        for line in train(args.out, nets, seed=args.seed, device=device, utterances=args.utterances, steps=args.steps,
                          progress=progress):  # fmt: skip
            out.print(line)
    out.print(f"done in {(time.monotonic() - began_s) / 60:.0f} min on {device}")
    return 0


def train(
    folder: Path,
    nets: tuple[str, ...],
    *,
    seed: int,
    device: str,
    utterances: int | None,
    steps: int | None,
    progress: Progress,
) -> Iterator[str]:
    """Train and write `folder`/geometry.npz and pixels.npz; yields a line for each thing done."""
    from dataclasses import replace

    from avsync.scorer.nets.weight_files import save_weights
    from avsync.scorer.training.geometry_train import (
        CLIPS,
        GeometryRecipe,
        geometry_weights,
        train_geometry,
        voice_pool,
    )
    from avsync.scorer.training.pixel_train import PixelRecipe, pixel_weights, train_pixels

    work = folder / "work"
    voices = voice_pool(utterances or CLIPS, seed, progress=progress)
    header: dict[str, Any] = {"seed": seed, "utterances": len(voices)}
    if "geometry" in nets:
        recipe = GeometryRecipe()
        if steps is not None:
            recipe = replace(recipe, pair=replace(recipe.pair, steps=steps))

        def on_step(member: int, step: int, loss: float, pair: Pair, _spread: Any) -> None:
            shown.append(f"geometry, member {member + 1}: step {step}, loss {loss:.3f}")

        shown: list[str] = []
        members, spread = train_geometry(
            voices, recipe, seed, device=device, work=work, progress=progress, on_step=on_step
        )
        yield from shown[-1:]
        arrays, own = geometry_weights(members, spread, recipe)
        digest = save_weights(folder / "geometry.npz", arrays, {**own, **header, "steps": recipe.pair.steps})
        yield f"{folder / 'geometry.npz'}: sha256 {digest}"
    if "pixels" in nets:
        pixels = PixelRecipe()
        if steps is not None:
            pixels = replace(pixels, pair=replace(pixels.pair, steps=steps), mouth=replace(pixels.mouth, steps=steps))
        filmed = voices[:FILMED]
        mouths = train_pixels(filmed, pixels, seed, device=device, work=work, progress=progress)
        arrays, own = pixel_weights(mouths)
        digest = save_weights(folder / "pixels.npz", arrays, {**own, **header, "steps": pixels.pair.steps})
        yield f"{folder / 'pixels.npz'}: sha256 {digest}"


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from error
    return name
