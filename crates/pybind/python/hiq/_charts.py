"""HiQ's drawings (they need matplotlib) and its helpers around numpy and torch."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "bfloat16_supported",
    "create_gantt_chart_memory",
    "create_gantt_chart_time",
    "draw_image",
    "get_average_loss",
    "get_percentage_loss",
    "set_seed",
]


def create_gantt_chart_time(
    data: str | list[str],
    fig_path: str | None = None,
    return_as_stream: bool = False,
    fig_size: tuple[float, float] = (24, 24),
) -> Any:
    """Draws serialized latency trees as bars; returns the picture's path or, if asked, its stream."""
    return _chart(_listed(data), fig_path, return_as_stream, fig_size, _time_bars, "hiq")


def create_gantt_chart_memory(data: str | list[str], fig_path: str | None = None) -> Any:
    """Draws serialized memory trees (made with `attach_timestamp`) as bars, each with what it added."""
    return _chart(_listed(data), fig_path, False, (24, 24), _memory_bars, "hiq.mem")


def draw_image(
    image_np: Any,
    format: str = "CHW",
    normalize: bool = True,
    save: bool = True,
    axis: str = "on",
    folder: str = "hiq_vis",
    prefix: str = "",
) -> None:
    """Shows a picture, or saves it under `folder`."""
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import numpy as np  # type: ignore[import-not-found,import-untyped,unused-ignore]

    from .utils import ensure_folder, random_str

    picture = image_np if isinstance(image_np, np.ndarray) else image_np.numpy()
    picture = picture[0] if picture.ndim == 4 else picture
    colours = None
    if format == "CHW":
        picture = np.transpose(picture, (1, 2, 0))
        if picture.shape[2] > 3:
            picture, colours = picture[:, :, 0], "gray"
    if normalize:
        picture = (picture - picture.min()) / (picture.max() - picture.min())
    plt.imshow(picture, cmap=colours)
    plt.axis(axis)
    if not save:
        plt.show(block=True)
        return
    prefix = f"{prefix}_" if prefix and not prefix.endswith("_") else prefix
    path = f"{folder}/{prefix}{int(time.time())}_{random_str()}.png"
    ensure_folder(path)
    plt.savefig(path, bbox_inches="tight", pad_inches=0, dpi=300)
    plt.close()


def get_average_loss(a: Any, b: Any) -> float:
    """The mean of the absolute differences; of lists, the sum over their items."""
    import numpy as np

    if isinstance(a, list):
        return float(sum(get_average_loss(x, y) for x, y in zip(a, b, strict=True)))
    return float(np.average(np.abs(a - b)))


def get_percentage_loss(a: Any, b: Any) -> float:
    """The absolute differences as a share of `a`; of lists, the sum over their items."""
    import numpy as np

    if isinstance(a, list):
        return float(sum(get_percentage_loss(x, y) for x, y in zip(a, b, strict=True)))
    return float(np.abs(np.sum(np.abs(a - b)) / np.sum(a)))


def bfloat16_supported(device_type: str = "cuda") -> bool:
    """True when torch can use bfloat16 on this device."""
    try:
        import torch  # type: ignore[import-not-found,import-untyped,unused-ignore]

        with torch.amp.autocast(device_type=device_type, dtype=torch.bfloat16):
            return True
    except Exception:  # No torch and no such device are the same answer.
        return False


def set_seed(
    seed: int = 42, has_tf: bool = False, has_torch: bool = False, has_jax: bool = False, has_pl: bool = False
) -> None:
    """Seeds `random`, numpy where it is, and the frameworks named."""
    import importlib
    import random

    random.seed(seed)
    seeders: list[tuple[str, bool, Callable[[Any], object]]] = [
        ("numpy", True, lambda np: np.random.seed(seed)),
        ("jax", has_jax, lambda jax: jax.random.PRNGKey(seed)),
        ("tensorflow", has_tf, lambda tf: tf.random.set_seed(seed)),
        ("pytorch_lightning", has_pl, lambda pl: pl.seed_everything(seed)),
        ("torch", has_torch, lambda torch: _seed_torch(torch, seed)),
    ]
    for name, wanted, seeder in seeders:
        if wanted:
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            seeder(module)


def _seed_torch(torch: Any, seed: int) -> None:
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def _listed(data: str | list[str]) -> list[str]:
    return [data] if isinstance(data, str) else data


def _chart(
    data: list[str], path: str | None, as_stream: bool, size: tuple[float, float], bars: Any, prefix: str
) -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from .tree import Tree
    from .utils import ensure_folder, random_str

    figure, places = plt.subplots(len(data), 1, figsize=size, squeeze=False)
    for number, (text, place) in enumerate(zip(data, places[:, 0], strict=True), start=1):
        _draw(place, list(bars(Tree(text))), f"Call-{number}")
    figure.tight_layout()
    target: Any = io.BytesIO() if as_stream else path or f"{prefix}_{random_str()}.png"
    if not as_stream:
        ensure_folder(target)
    figure.savefig(target)
    plt.close(figure)
    if as_stream:
        target.seek(0)
    return target


def _draw(place: Any, bars: list[tuple[str, float, float, str]], title: str) -> None:
    first = min((start for _, start, _, _ in bars), default=0.0)
    for row, (_, start, end, note) in enumerate(bars):
        place.barh(row, end - start, left=start - first)
        place.text(end - first, row, f" {note}", va="center")
    place.set_yticks(range(len(bars)), [name for name, _, _, _ in bars])
    place.invert_yaxis()
    place.set_title(title)
    place.set_xlabel("Seconds")
    place.set_ylabel("Function")
    place.grid()


def _time_bars(tree: Any) -> Iterator[tuple[str, float, float, str]]:
    for node in _named_nodes(tree):
        yield node.name.strip("_"), node.start, node.end, f"{node.end - node.start:.4f} s"


def _memory_bars(tree: Any) -> Iterator[tuple[str, float, float, str]]:
    for node in _named_nodes(tree):
        if "start" in node.extra and "end" in node.extra:
            note = f"{node.end - node.start:+.4f}"
            yield node.name.strip("_"), node.extra["start"], node.extra["end"], note


def _named_nodes(tree: Any) -> Iterator[Any]:
    waiting = [tree.get_root()]
    while waiting:
        node = waiting.pop()
        if node.name is not None:
            yield node
        waiting.extend(reversed(list(node.nodes)))
