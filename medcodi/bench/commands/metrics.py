"""How fast are the metrics? Ratios to other libraries on the same input, in one run and one thread.

    medcodi bench metrics [--num-samples 1000] [--dim 2048] [--num-reports 2000] [--repeats 3]

- Fréchet statistics and distance against torchmetrics' FID from the same features (its network
  replaced by the identity);
- BLEU-1..4 against sacrebleu through `evaluate` (the offline module) on the same texts;
- labeler: reports a second.
Processor seconds, the least of the repeats. Last line of stdout: one JSON document.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medcodi.bench.command import bench_parser, show
from medcodi.labeler import Labeler
from medcodi.metrics.bleu import EVALUATE_MODULE, corpus_bleu
from medcodi.metrics.fidelity import frechet_distance
from medcodi.phantom import make_study


class Features(torch.nn.Module):
    """Hands torchmetrics the features that it would have computed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def seconds(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least processor seconds of `repeats` calls, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def frechet(num_samples: int, dim: int, repeats: int) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance

    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    x, y = (rng.normal(size=(num_samples, dim)) @ mixing + shift for shift in (0.0, 0.02))

    def other() -> float:
        metric = FrechetInceptionDistance(
            feature=Features(dim), input_img_size=(dim,), normalize=True
        ).set_dtype(torch.float64)
        for part, real in ((x, True), (y, False)):
            metric.update(torch.from_numpy(part), real=real)
        return float(metric.compute())

    own_seconds, own = seconds(lambda: frechet_distance(x, y), repeats)
    other_seconds, theirs = seconds(other, repeats)
    return {
        "medcodi_s": own_seconds,
        "torchmetrics_s": other_seconds,
        "ratio": other_seconds / own_seconds,
        "medcodi": own,
        "torchmetrics": theirs,
    }


def reports(count: int) -> list[str]:
    texts: list[str] = []
    index = 0
    while len(texts) < count:
        text = make_study(0, index, 8).values.get("report")
        texts += [text] if text else []
        index += 1
    return texts


def bleu(texts: list[str], repeats: int) -> dict[str, float]:
    import evaluate

    references = [[text] for text in texts[1:] + texts[:1]]
    with tempfile.TemporaryDirectory() as cache:
        metric = evaluate.load(str(EVALUATE_MODULE), cache_dir=cache)
        other_seconds, scores = seconds(
            lambda: metric.compute(predictions=texts, references=references), repeats
        )
    own_seconds, own = seconds(lambda: corpus_bleu(texts, references), repeats)
    theirs = np.array([scores[f"bleu_{n}"] for n in range(1, 5)])
    return {
        "medcodi_s": own_seconds,
        "evaluate_s": other_seconds,
        "ratio": other_seconds / own_seconds,
        "largest_difference": float(np.abs(own - theirs).max()),
    }


def labeler(texts: list[str], repeats: int) -> dict[str, float]:
    """A new labeler each time: no sentence is remembered from the repeat before."""

    def label() -> None:
        fresh.label(texts)

    times = []
    for _ in range(repeats):
        fresh = Labeler.from_vocabulary("chexpert")
        times.append(seconds(label, 1)[0])
    return {
        "seconds": min(times),
        "reports_per_second": len(texts) / min(times),
        "distinct_share": len(set(texts)) / len(texts),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("metrics", __doc__)
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--num-reports", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("results/metric_speed"))
    arguments = parser.parse_intermixed_args(arguments)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    texts = reports(arguments.num_reports)
    figures = {
        "num_samples": arguments.num_samples,
        "dim": arguments.dim,
        "num_reports": len(texts),
        "frechet": frechet(arguments.num_samples, arguments.dim, arguments.repeats),
        "bleu": bleu(texts, arguments.repeats),
        "labeler": labeler(texts, arguments.repeats),
    }
    lines = [
        f"{name} {', '.join(f'{key} {value:.4g}' for key, value in figures[name].items())}\n"
        for name in ("frechet", "bleu", "labeler")
    ]
    show(figures, "".join(lines), arguments.output, "metric_speed")


if __name__ == "__main__":
    main()
