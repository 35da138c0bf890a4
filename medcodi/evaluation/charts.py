"""Pictures of the tables, as PNG files. Legend: N samples, D features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medcodi.data.table import TableSchema

MAX_MAPPED = 300


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def image_grid(rows: Mapping[str, np.ndarray], path: Path) -> None:
    """One row of images (N, H, W) in [0, 1], all of one size, for each name."""
    height, width = next(iter(rows.values())).shape[1:]
    gap = max(height // 32, 1)
    num_columns = max(len(images) for images in rows.values())
    canvas = np.ones(
        (len(rows) * (height + gap) - gap, num_columns * (width + gap) - gap), np.float32
    )
    for line, images in enumerate(rows.values()):
        for i, image in enumerate(images):
            top, left = line * (height + gap), i * (width + gap)
            canvas[top : top + height, left : left + width] = image
    figure, axis = plt.subplots(figsize=(1.2 * num_columns + 1.2, 1.25 * len(rows)))
    axis.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    axis.set_yticks(
        [line * (height + gap) + height / 2 for line in range(len(rows))], list(rows), fontsize=9
    )
    axis.set_xticks([])
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    _save(figure, path)


def feature_map(features: Mapping[str, np.ndarray], path: Path, seed: int = 0) -> None:
    """First two principal components of the first set (real) for all, and t-SNE of all; at most 300
    of each set."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    parts = {name: part[:MAX_MAPPED] for name, part in features.items()}
    stacked = np.concatenate(list(parts.values()))
    pca = PCA(2, random_state=seed).fit(next(iter(parts.values())))
    perplexity = min(30.0, (len(stacked) - 1) / 3)
    maps = {
        "principal components of the real features": pca.transform(stacked),
        "t-SNE": TSNE(
            2, perplexity=perplexity, init="pca", random_state=seed, max_iter=400
        ).fit_transform(stacked),
    }
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4))
    for axis, (title, points) in zip(axes, maps.items(), strict=True):
        start = 0
        for name, part in parts.items():
            axis.scatter(*points[start : start + len(part)].T, s=9, alpha=0.7, label=name)
            start += len(part)
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    axes[1].legend(fontsize=8)
    _save(figure, path)


def principal_components(systems: Mapping[str, np.ndarray], path: Path) -> None:
    """First two principal components of the pixels (N, P) of the first system (real), a panel for
    each other system over it; at most 300 of each."""
    from sklearn.decomposition import PCA

    parts = {name: part[:MAX_MAPPED] for name, part in systems.items()}
    (real, reference), *others = parts.items()
    pca = PCA(2, random_state=0).fit(reference)
    count = max(len(others), 1)
    columns = min(count, 4)
    height = -(-count // columns)
    figure, axes = plt.subplots(
        height, columns, figsize=(3 * columns, 3 * height), squeeze=False, sharex=True, sharey=True
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, part) in zip(axes.flat, others, strict=False):
        for label, points in ((real, reference), (name, part)):
            axis.scatter(*pca.transform(points).T, s=6, alpha=0.5, label=label)
        axis.set_title(name, fontsize=9)
    axes.flat[0].legend(fontsize=7)
    _save(figure, path)


def roc_curves(systems: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """ROC curves of binary labels (N,) and scores (N,) by system."""
    from sklearn.metrics import roc_curve

    figure, axis = plt.subplots(figsize=(5, 4.6))
    for name, (labels, scores) in systems.items():
        if 0 < labels.sum() < len(labels):
            false, true, _ = roc_curve(labels, scores)
            axis.plot(false, true, label=name, linewidth=1.5)
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axis.set_xlabel("false positive rate")
    axis.set_ylabel("true positive rate")
    axis.legend(fontsize=8)
    _save(figure, path)


def histogram(systems: Mapping[str, np.ndarray], xlabel: str, path: Path) -> None:
    """Shares of whole numbers (N,) by system, side by side."""
    last = max(int(values.max()) for values in systems.values())
    figure, axis = plt.subplots(figsize=(6, 3.6))
    width = 0.8 / len(systems)
    for i, (name, values) in enumerate(systems.items()):
        shares = np.bincount(values.astype(int), minlength=last + 1) / len(values)
        axis.bar(
            np.arange(last + 1) + (i - (len(systems) - 1) / 2) * width, shares, width, label=name
        )
    axis.set_xticks(range(last + 1))
    axis.set_xlabel(xlabel)
    axis.set_ylabel("share of the studies")
    axis.legend(fontsize=8)
    _save(figure, path)


def column_histograms(
    real: pd.DataFrame, generated: pd.DataFrame, schema: TableSchema, path: Path
) -> None:
    """Histogram or bars of each column, real and generated."""
    height = -(-len(schema.columns) // 4)
    figure, axes = plt.subplots(height, 4, figsize=(13, 2.4 * height), squeeze=False)
    for axis in axes.flat[len(schema.columns) :]:
        axis.set_axis_off()
    for column, axis in zip(schema.columns, axes.flat, strict=False):
        pair = [frame[column.name].dropna() for frame in (real, generated)]
        axis.set_title(column.name, fontsize=8)
        axis.tick_params(labelsize=7)
        if column.is_discrete:
            at = np.arange(len(column.categories))
            for i, values in enumerate(pair):
                shares = [
                    float((values == c).mean()) if len(values) else 0.0 for c in column.categories
                ]
                axis.bar(at + 0.4 * (i - 0.5), shares, 0.4)
            axis.set_xticks(at, column.categories, fontsize=6)
        else:
            edges = np.histogram_bin_edges(pd.concat(pair), 20)
            for values in pair:
                axis.hist(values, edges, density=True, alpha=0.55)
    axes.flat[0].legend(["real", "generated"], fontsize=7)
    figure.tight_layout()
    _save(figure, path)


def moments_chart(
    moments: Mapping[str, Mapping[str, Mapping[str, Any]]], names: Sequence[str], path: Path
) -> None:
    """System -> column -> moment -> Estimate, one panel a moment; the first system is the real one.
    Means and standard deviations are shown in units of the real standard deviation, so that columns
    share an axis."""
    real, columns = next(iter(moments.values())), list(next(iter(moments.values())))
    figure, axes = plt.subplots(1, len(names), figsize=(14, 0.45 * len(columns) + 1.4), sharey=True)
    scales = np.array([max(real[column]["sd"].value, 1e-12) for column in columns])
    for axis, moment in zip(axes, names, strict=True):
        scale = scales if moment in ("mean", "sd") else np.ones(len(columns))
        offset = np.array(
            [real[column]["mean"].value if moment == "mean" else 0.0 for column in columns]
        )
        for i, (system, of_system) in enumerate(moments.items()):
            made = [of_system[column][moment] for column in columns]
            value, low, high = (
                (np.array([getattr(e, b) for e in made]) - offset) / scale
                for b in ("value", "low", "high")
            )
            error = np.nan_to_num([np.maximum(value - low, 0), np.maximum(high - value, 0)])
            axis.errorbar(
                value,
                np.arange(len(columns)) + 0.2 * (i - 1),
                xerr=error,
                fmt="o",
                markersize=4,
                label=system,
            )
        axis.set_title(
            {"mean": "mean - real mean, in real sd", "sd": "sd / real sd"}.get(moment, moment),
            fontsize=9,
        )
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(columns)), columns)
    axes[0].invert_yaxis()
    axes[-1].legend(fontsize=7)
    figure.tight_layout()
    _save(figure, path)
