"""Frames as a file: a strip of images, or an animation."""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile

import numpy as np
from PIL import Image

from hamgan.errors import FailedError, UserError
from hamgan.files import write_atomically
from hamgan.sampling.grids import image_grid

__all__ = ["write_frames"]

DEFAULT_FPS = 24
DEFAULT_COLUMNS = 13
FASTEST = {".gif": 50, ".webp": 60, ".mp4": 60}
"""Animations by ending, and their most frames per second. Browsers slow down GIFs with frames below 20 ms."""
_PICTURE = ".png"
_MILLISECONDS = {".gif": 10, ".webp": 1}
"""Unit of the durations of frames."""
_LARGEST_SIDE = 16383
_FFMPEG = "ffmpeg"


def check_frame_file(path: str, *, fps: float | None = None, columns: int | None = None, scale: int = 1) -> None:
    """Checks the arguments of :func:`write_frames` before the frames exist.

    Raises:
        UserError: if the ending is unknown, an option does not go with it or is out of range, or MP4 needs ffmpeg and
            there is none.
    """
    ending = _ending(path)
    if ending != _PICTURE and ending not in FASTEST:
        raise UserError(
            f"{path}: expected a name that ends in {', '.join([_PICTURE, *FASTEST])}, found {ending or 'no ending'}; "
            "choose another name"
        )
    if scale < 1:
        raise UserError(f"scale must be positive, found {scale}")
    if ending == _PICTURE:
        if fps is not None:
            raise UserError(f"fps goes with animations ({', '.join(FASTEST)}), found {path}; leave it out")
        if columns is not None and columns < 1:
            raise UserError(f"columns must be positive, found {columns}")
        return
    if columns is not None:
        raise UserError(f"columns goes with a strip ({_PICTURE}), found {path}; leave it out")
    if fps is not None and not 0 < fps <= FASTEST[ending]:
        raise UserError(f"fps must be above 0 and at most {FASTEST[ending]} in a {ending} file, found {fps:g}")
    if ending == ".mp4" and shutil.which(_FFMPEG) is None:
        raise UserError(
            f"{path}: MP4 needs the program {_FFMPEG}, found none on PATH; install it, or write a .webp file"
        )


def write_frames(
    path: str,
    frames: np.ndarray,
    *,
    fps: float | None = None,
    columns: int | None = None,
    loop: bool = False,
    scale: int = 1,
) -> None:
    """Writes frames to a file, atomically: a strip (``.png``), or an animation (``.gif``, ``.webp``, ``.mp4``).

    GIF and WebP animations repeat without end; MP4 plays once. WebP is lossless; a frame of a GIF has at most 256
    colours. The program ``ffmpeg`` encodes MP4.

    Args:
        path: path of the file, local or ``gs://``.
        frames: images, uint8, shape ``(frames, height, width, 1 or 3)``.
        fps: frames per second of an animation; 24 by default.
        columns: number of frames in a strip, evenly spaced; by default 13, or all if there are fewer.
        loop: whether the first frame follows the last. A strip that is no loop ends with the last frame.
        scale: factor of height and width. Pixels are repeated.

    Raises:
        UserError: if an argument is wrong, see :func:`check_frame_file`, or there are fewer frames than columns.
        FailedError: if ffmpeg fails.

    Example:
        >>> import hamgan
        >>> from hamgan.sampling.frame_files import write_frames
        >>> frames = hamgan.load("runs/digits").interpolate([3, 8], loop=True)
        >>> write_frames("digits.gif", frames, loop=True, scale=4)
    """
    check_frame_file(path, fps=fps, columns=columns, scale=scale)
    ending = _ending(path)
    if ending == _PICTURE:
        frames = _evenly_spaced(frames, columns, loop=loop)
    _, height, width, _ = frames.shape
    if ending != _PICTURE and scale * max(height, width) > _LARGEST_SIDE:
        raise UserError(
            f"{path}: expected frames of at most {_LARGEST_SIDE} pixels, found {scale * height} x {scale * width}; "
            "lower scale or rows"
        )
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    if ending == _PICTURE:
        content = _encoded(image_grid(frames, columns=len(frames)))
    elif ending == ".mp4":
        content = _video(frames, fps or DEFAULT_FPS)
    else:
        content = _animation(frames, fps or DEFAULT_FPS, ending)
    write_atomically(path, content)


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _evenly_spaced(frames: np.ndarray, columns: int | None, *, loop: bool) -> np.ndarray:
    count = len(frames)
    if columns is not None and columns > count:
        raise UserError(f"columns must be at most the number of frames, {count}, found {columns}")
    columns = columns or min(DEFAULT_COLUMNS, count)
    return frames[np.round(np.linspace(0, count if loop else count - 1, columns, endpoint=not loop)).astype(int)]


def _picture(frame: np.ndarray) -> Image.Image:
    return Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)


def _encoded(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    _picture(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _animation(frames: np.ndarray, fps: float, ending: str) -> bytes:
    """Returns a GIF or WebP file."""
    unit = _MILLISECONDS[ending]
    # Rounded times rather than durations: the whole animation keeps its speed.
    times = np.round(np.arange(len(frames) + 1) * (1000 / fps / unit)).astype(int) * unit
    buffer = io.BytesIO()
    _picture(frames[0]).save(
        buffer,
        ending[1:].upper(),
        save_all=True,
        append_images=(_picture(frame) for frame in frames[1:]),
        duration=np.diff(times).tolist(),
        loop=0,
        **({"lossless": True} if ending == ".webp" else {}),
    )
    return buffer.getvalue()


def _video(frames: np.ndarray, fps: float) -> bytes:
    """Returns an MP4 file, encoded by ffmpeg from raw frames."""
    _, height, width, channels = frames.shape
    with tempfile.TemporaryDirectory(prefix="hamgan-") as folder:
        video = os.path.join(folder, "video.mp4")
        command = [
            *(_FFMPEG, "-loglevel", "error"),
            *("-f", "rawvideo", "-pixel_format", "gray" if channels == 1 else "rgb24"),
            *("-video_size", f"{width}x{height}", "-framerate", f"{fps:g}", "-i", "pipe:0"),
            # Half the resolution of colour, as players expect; it needs even sides.
            *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-movflags", "+faststart", video),
        ]
        with open(os.path.join(folder, "errors"), "w+b") as errors:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=errors, stderr=errors) as process:
                assert process.stdin is not None
                try:
                    # If ffmpeg stops early, its message says why.
                    with contextlib.suppress(BrokenPipeError):
                        for frame in frames:
                            process.stdin.write(frame.tobytes())
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
                except BaseException:
                    process.kill()
                    raise
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
        if process.returncode or not os.path.exists(video):
            reason = " ".join(next((line for line in reversed(lines) if line.strip()), "it wrote nothing").split())
            raise FailedError(f"{_FFMPEG} failed with exit code {process.returncode}: {reason}; try a .webp file")
        with open(video, "rb") as file:
            return file.read()
