import itertools
import os
import shutil
import stat

import numpy as np
import pytest
from PIL import Image

from hamgan.errors import FailedError, UserError
from hamgan.sampling.frame_files import write_frames


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (10, 4, 6, 3), np.uint8)


def read(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"columns": 4}, [0, 3, 6, 9]),
        ({"columns": 5, "loop": True}, [0, 2, 4, 6, 8]),
        ({"columns": 1}, [0]),
        ({}, range(10)),
    ],
)
def test_a_strip_has_evenly_spaced_frames(frames, options, chosen, tmp_path):
    path = tmp_path / "strip.png"
    write_frames(str(path), frames, **options)
    np.testing.assert_array_equal(read(path), np.concatenate(frames[list(chosen)], axis=1))


def test_scale_repeats_pixels(frames, tmp_path):
    path = tmp_path / "strip.png"
    write_frames(str(path), frames[:1, :, :, :1], scale=3)
    picture = read(path)
    assert picture.shape == (12, 18)
    np.testing.assert_array_equal(picture[1::3, 2::3], frames[0, :, :, 0])
    np.testing.assert_array_equal(picture[::3, ::3], frames[0, :, :, 0])


@pytest.mark.parametrize("ending", ["gif", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_animations_keep_every_frame_and_their_speed(frames, ending, channels, tmp_path):
    # A frame of a GIF has at most 256 colours: here, 24.
    path = tmp_path / f"animation.{ending}"
    write_frames(str(path), frames[..., :channels], fps=15)
    with Image.open(path) as animation:
        assert animation.n_frames == 10
        assert animation.info["loop"] == 0
        durations = []
        for index in range(10):
            animation.seek(index)
            animation.load()
            durations.append(animation.info["duration"])
            expected = np.broadcast_to(frames[index, ..., :channels], (4, 6, 3))
            np.testing.assert_array_equal(animation.convert("RGB"), expected)
    assert max(durations) - min(durations) <= 10
    assert sum(durations) == pytest.approx(10_000 / 15, abs=5)


def install_ffmpeg(folder, script, monkeypatch):
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(("channels", "pixel_format"), [(1, "gray"), (3, "rgb24")])
def test_mp4_is_encoded_by_ffmpeg_from_raw_frames(frames, channels, pixel_format, tmp_path, monkeypatch):
    script = f"""cd {tmp_path}
    cat > received
    printf '%s\\n' "$@" > arguments
    for last; do :; done
    echo encoded > "$last" """
    install_ffmpeg(tmp_path / "bin", script, monkeypatch)
    frames = frames[..., :channels]
    write_frames(str(tmp_path / "video.mp4"), frames, fps=29.97, scale=2)
    assert (tmp_path / "video.mp4").read_text() == "encoded\n"
    sent = frames.repeat(2, axis=1).repeat(2, axis=2)
    assert (tmp_path / "received").read_bytes() == sent.tobytes()
    arguments = (tmp_path / "arguments").read_text().split("\n")
    given = dict(itertools.pairwise(arguments))
    expected = {"-f": "rawvideo", "-pixel_format": pixel_format, "-video_size": "12x8", "-framerate": "29.97"}
    assert {name: given[name] for name in expected} == expected
    assert arguments.index("-framerate") < arguments.index("-i")
    assert given["-i"] == "pipe:0"


def test_a_failure_of_ffmpeg_is_one_line_and_leaves_no_file(frames, tmp_path, monkeypatch):
    install_ffmpeg(tmp_path / "bin", "echo first >&2; echo 'Unknown  encoder' >&2; exit 3", monkeypatch)
    # More than a pipe holds: ffmpeg is gone before all is written.
    with pytest.raises(FailedError, match=r"^ffmpeg failed with exit code 3: Unknown encoder; try a \.webp file$"):
        write_frames(str(tmp_path / "video.mp4"), frames, scale=40)
    assert os.listdir(tmp_path) == ["bin"]


def test_without_ffmpeg_mp4_is_refused(frames, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="MP4 needs the program ffmpeg, found none on PATH"):
        write_frames(str(tmp_path / "video.mp4"), frames)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_the_real_ffmpeg_accepts_the_frames(frames, tmp_path):
    write_frames(str(tmp_path / "video.mp4"), frames[:, :, :, :1], scale=5)
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("strip", {}, r"ends in \.png, \.gif, \.webp, \.mp4, found no ending"),
        ("strip.jpg", {}, r"found \.jpg; choose another name"),
        ("strip.png", {"fps": 10}, "fps goes with animations"),
        ("strip.png", {"columns": 11}, "columns must be at most the number of frames, 10, found 11"),
        ("strip.png", {"columns": 0}, "columns must be positive, found 0"),
        ("strip.png", {"scale": 0}, "scale must be positive, found 0"),
        ("a.gif", {"columns": 3}, "columns goes with a strip"),
        ("a.gif", {"fps": 51}, r"at most 50 in a \.gif file, found 51"),
        ("a.webp", {"fps": float("nan")}, "fps must be above 0 .*found nan"),
        ("a.webp", {"scale": 4000}, "expected frames of at most 16383 pixels, found 16000 x 24000"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_written(frames, name, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        write_frames(str(tmp_path / name), frames, **options)
    assert not os.listdir(tmp_path)
