"""Clips: real media gives the lab its frame sizes; whatever else it is given ends in one clear error."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from avsync.errors import InputError
from avsync.policy import AvSyncPolicy
from sim.run.world import simulate
from sim.scenario.scenario import build
from sim.source import clip as clip_module
from sim.source.clip import load_clip


def write_clip(path: Path, *, frames: int = 12, rate: Fraction | int = 25, sound: bool = False) -> Path:
    """A moving pattern, coded as MPEG-4 part 2, which every FFmpeg build has; optionally with a silent track."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=rate) if frames else None
        voice = container.add_stream("aac", rate=48_000) if sound else None
        for i in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for n, plane in enumerate(frame.planes):
                plane.update(bytes((17 * i * (n + 1) + j * i) % 251 for j in range(plane.buffer_size)))
            assert video is not None
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode())
        if voice is not None:
            for i in range(10):
                samples = av.AudioFrame(format="fltp", layout="mono", samples=1024)
                for plane in samples.planes:
                    plane.update(bytes(plane.buffer_size))
                samples.sample_rate, samples.pts = 48_000, 1024 * i
                container.mux(voice.encode(samples))
            container.mux(voice.encode())
    return path


def coded_sizes(path: Path) -> tuple[int, ...]:
    with av.open(str(path)) as container:
        return tuple(packet.size for packet in container.demux(container.streams.video[0]) if packet.size)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_clip(path)
    assert caught.value.file == str(path)
    text = str(caught.value)
    assert text.count(str(path)) == 1 and "Errno" not in text
    return text


def test_a_clip_gives_its_frame_sizes_in_order_and_its_rate(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "talk.mp4", frames=12)
    clip = load_clip(path)
    assert clip.fps == 25 and isinstance(clip.fps, int)
    assert clip.frame_bytes == coded_sizes(path) and len(clip.frame_bytes) == 12
    assert clip.duration_s == pytest.approx(0.48)
    kbps = sum(clip.frame_bytes) * 8 / 0.48 / 1000
    assert clip.about == f"talk.mp4: 12 frames at 25 fps, 0.5 s, {kbps:.0f} kbit/s"


def test_the_sound_beside_it_is_not_counted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "talk.mp4", frames=5, sound=True)
    assert load_clip(path).frame_bytes == coded_sizes(path)


def test_29_97_frames_a_second_stay_exact(tmp_path: Path) -> None:
    clip = load_clip(write_clip(tmp_path / "ntsc.mp4", frames=6, rate=Fraction(30_000, 1001)))
    assert clip.fps == Fraction(30_000, 1001)
    assert clip.duration_s == pytest.approx(6 * 1001 / 30_000)


def test_the_frames_of_a_run_weigh_what_the_clips_do_again_and_again(tmp_path: Path) -> None:
    clip = load_clip(write_clip(tmp_path / "talk.mp4", frames=7))
    scenario = build({"avsync": 1, "about": "A clip in the lab.", "tags": ["reference"], "duration_s": 3.0})
    sent: list[int] = []

    class Scale:
        """An engine that notes what each picture weighs."""

        def __init__(self, engine: object) -> None:
            self._engine = engine

        def __getattr__(self, name: str) -> object:
            return getattr(self._engine, name)

        def push(self, unit: object, now_ns: int, **how: object) -> None:
            if unit.kind.value == "video":  # type: ignore[attr-defined]
                sent.append(unit.size_bytes)  # type: ignore[attr-defined]
            self._engine.push(unit, now_ns, **how)  # type: ignore[attr-defined]

    def wrap(engine: object, where: str) -> object:
        return Scale(engine) if where == "sender" else engine

    simulate(scenario, policy=AvSyncPolicy(), viewer="browser", seed=1, clip=clip, wrap_engine=wrap)  # type: ignore[arg-type]
    assert len(sent) > 20
    assert sent == [clip.frame_bytes[i % 7] for i in range(len(sent))]


def test_a_long_clip_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "long.mp4", frames=12)
    monkeypatch.setattr(clip_module, "MAX_FRAMES", 10)
    clip = load_clip(path)
    assert clip.frame_bytes == coded_sizes(path)[:10]
    assert clip.about.endswith("(the first 10 frames are taken)")
    monkeypatch.setattr(clip_module, "MAX_FRAMES", 12)
    assert "first" not in load_clip(path).about


def test_a_clip_without_pictures_is_refused_with_a_remedy(tmp_path: Path) -> None:
    assert "has no video stream\n  give a clip" in refusal(write_clip(tmp_path / "radio.mp4", frames=0, sound=True))


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    """Its one frame would be taken for a clip of 1/90000 s."""
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame(16, 16, "rgb24")
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(cover.encode(frame))
        container.mux(cover.encode())
    assert "has a cover picture, but no video" in refusal(path)


def test_a_rate_that_cannot_be_is_refused(tmp_path: Path) -> None:
    assert "1000 frames a second; 1 to 240 can be" in refusal(write_clip(tmp_path / "fast.mp4", rate=1000))


@pytest.mark.parametrize(
    "content", [b"", b"not a clip", bytes(range(256)) * 200, b"\x00\x00\x00\x18ftypmp42" + bytes(64)]
)
def test_garbage_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.mp4"
    path.write_bytes(content)
    assert "not a media file that can be read: " in refusal(path)


def test_a_clip_cut_off_or_damaged_is_read_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "talk.mpg", frames=12).read_bytes()
    path = tmp_path / "part.mpg"
    for length in range(0, len(whole), max(len(whole) // 24, 1)):
        for data in (whole[:length], whole[:length] + b"\xff" * 40 + whole[length + 40 :]):
            path.write_bytes(data)
            try:
                clip = load_clip(path)
            except InputError as error:
                assert error.file == str(path)
            else:
                assert clip.frame_bytes and clip.duration_s > 0


def test_what_is_no_file_is_refused_before_anybody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "cannot be read: it is not a file" in refusal(tmp_path / "pipe.mp4")
    assert "cannot be read: it is not a file" in refusal(tmp_path)
    assert "cannot be read: there is no such file" in refusal(tmp_path / "missing.mp4")
    assert "cannot be read: " in refusal(tmp_path / ("x" * 400))


def test_a_playlist_does_not_lead_to_other_files(tmp_path: Path) -> None:
    write_clip(tmp_path / "talk.mp4")
    for name, text in (
        ("list.ffconcat", "ffconcat version 1.0\nfile talk.mp4\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\ntalk.mp4\n#EXT-X-ENDLIST\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        assert "not a media file that can be read" in refusal(path)
