"""A player for a notebook or a page: HTML that holds all frames and refers to nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["player"]

# Of the frames between these, only what has changed is kept.
_WHOLE_EVERY = 16

# Without scripts, as in a notebook that is not trusted, the last frame is seen. There may be
# several films on a page: each script starts those that no other one has started yet.
_HTML = """\
<div class="toysup-film" data-fps="{fps:g}" data-frames="{frames}">
<img alt="the last frame of a film" src="data:image/png;base64,{last}" style="max-width:100%">
<canvas style="max-width:100%" hidden></canvas>
<div style="display:flex;gap:.7em;align-items:center;max-width:{width}px;font:14px sans-serif"
     class="toysup-controls" hidden>
<button type="button" aria-label="play or pause" style="width:4em">pause</button>
<input type="range" min="0" value="0" aria-label="frame" style="flex:1">
<select aria-label="speed"><option value=".25">¼ ×<option value=".5">½ ×\
<option value="1" selected>1 ×<option value="2">2 ×</select>
<label><input type="checkbox" checked> loop</label>
</div>
</div>
<script>
(() => {{
  const start = (film, images) => {{
    const find = name => film.querySelector(name);
    const [canvas, button, slider] = ["canvas", "button", "input[type=range]"].map(find);
    const [speed, loop] = ["select", "input[type=checkbox]"].map(find);
    const pen = canvas.getContext("2d");
    let shown = -1, timer = null;
    const show = frame => {{
      let next = frame - frame % {every};
      if (next <= shown && shown < frame) next = shown + 1;
      for (; next <= frame; next++) pen.drawImage(images[next], 0, 0);
      slider.value = shown = frame;
    }};
    const stop = () => {{
      clearInterval(timer);
      timer = null;
      button.textContent = "play";
    }};
    const step = () => {{
      if (!film.isConnected) stop();
      else if (shown + 1 < images.length) show(shown + 1);
      else if (loop.checked) show(0);
      else stop();
    }};
    const play = () => {{
      stop();
      if (shown + 1 === images.length) show(0);
      timer = setInterval(step, 1000 / (film.dataset.fps * speed.value));
      button.textContent = "pause";
    }};
    button.onclick = () => timer === null ? play() : stop();
    speed.onchange = () => timer === null || play();
    slider.oninput = () => {{ stop(); show(Number(slider.value)); }};
    slider.max = images.length - 1;
    canvas.width = images[0].naturalWidth;
    canvas.height = images[0].naturalHeight;
    show(0);
    find("img").hidden = true;
    canvas.hidden = find(".toysup-controls").hidden = false;
    play();
  }};
  for (const film of document.querySelectorAll(".toysup-film:not([data-started])")) {{
    film.dataset.started = "";
    const images = film.dataset.frames.split(" ").map(data => {{
      const image = new Image();
      image.src = "data:image/png;base64," + data;
      return image;
    }});
    Promise.all(images.map(image => image.decode())).then(() => start(film, images));
  }}
}})();
</script>
"""


def player(frames: Iterable[npt.NDArray[np.uint8]], palette: bytes, fps: float) -> str:
    """A piece of HTML that plays frames.

    Parameters
    ----------
    frames : iterable of arrays of shape (height, width)
        Places in the palette.
    palette : bytes
        Red, green and blue of at most 255 colours.
    fps : float
        Frames a second.
    """
    last = np.zeros((1, 1), np.uint8)

    def texts() -> Iterator[str]:
        nonlocal last
        for k, frame in enumerate(frames):
            same = frame == last if k % _WHOLE_EVERY else None
            yield _png(frame, palette, same)
            last = frame

    text = " ".join(texts())
    width = last.shape[1]
    return _HTML.format(
        fps=fps, frames=text, last=_png(last, palette), width=width, every=_WHOLE_EVERY
    )


def _png(
    frame: npt.NDArray[np.uint8],
    palette: bytes,
    hidden: npt.NDArray[np.bool_] | None = None,
) -> str:
    """A frame as Base64 of a PNG; what is hidden is transparent."""
    from PIL import Image

    options: dict[str, Any] = {}
    if hidden is not None:
        clear = len(palette) // 3
        frame = np.where(hidden, np.uint8(clear), frame)
        palette, options = palette + palette[:3], {"transparency": clear}
    image = Image.fromarray(frame)
    image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **options)
    return base64.b64encode(file.getvalue()).decode()
