"""What an image system is: `fit` on records, `sample` for labels, `save` and `load`.

    system = build("pggan", size=64, num_labels=4)
    system.fit(records, num_steps=2000)
    images = system.sample(labels, seed=0)
    system.save(folder)

Legend: N records, S image side, C channels, K findings, Z noise.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from medcodi.baselines.loop import train
from medcodi.config_io import build_dataclass
from medcodi.metrics.images import as_float_images
from medcodi.nn.seeding import derive_generator
from medcodi.nn.weights import load_config, load_module, save_module

LABELS, SOURCES = "labels", "sources"  # what a system may be conditioned by


@dataclass(frozen=True)
class Records:
    """What a system learns from: `images` (N, 1, S, S) in [-1, 1]; `labels` (N, K) of 0 and 1, one
    1 a row where classes exclude each other; `sources` (N, 1, S, S), another view of each. `rows`
    of a batch are its places among all."""

    images: Tensor
    labels: Tensor
    sources: Tensor | None = None
    rows: Tensor | None = None

    @classmethod
    def of(
        cls, images: np.ndarray, labels: np.ndarray, sources: np.ndarray | None = None
    ) -> "Records":
        """From images and sources (N, H, W) in [0, 1]. ValueError for other numbers of rows."""
        parts = [_pixels(images, "images"), torch.as_tensor(np.asarray(labels, np.float32))]
        given = [*parts, _pixels(sources, "sources")] if sources is not None else parts
        if len({len(part) for part in given}) > 1:
            raise ValueError(
                f"expected as many labels and sources as images, got {[len(p) for p in given]}"
            )
        return cls(*given)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Tensor) -> "Records":
        sources = None if self.sources is None else self.sources[rows]
        return Records(self.images[rows], self.labels[rows], sources, rows)


def _pixels(images: np.ndarray, where: str) -> Tensor:
    return 2 * torch.from_numpy(as_float_images(images, where))[:, None] - 1


@dataclass(frozen=True)
class Player:
    """Networks that are updated together, by Adam."""

    modules: Sequence[nn.Module]
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)


def adversaries(
    discriminator: nn.Module, generator: nn.Module, learning_rate: float, betas: tuple[float, float]
) -> dict[str, Player]:
    """The two players of a GAN, in the order in which they are updated."""
    return {
        "discriminator": Player([discriminator], learning_rate, betas),
        "generator": Player([generator], learning_rate, betas),
    }


@dataclass(frozen=True)
class Settings:
    """Sizes of a system; a subclass has its own. `channels` is 1 but where a paper has colour."""

    channels: int = 1


class ImageBaseline(nn.Module, ABC):
    """A generator of images and how it is trained.

    A step of the loop (`loop.py`) asks `turns` who is updated, and `loss` for what each lowers; all
    random numbers come from torch's global generator, which the loop seeds by the step. A subclass
    says these, `players`, `noise_shape` and `generate`. `paper` has the sizes that the publication
    prints; its header says what differs.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    uses: ClassVar[frozenset[str]] = frozenset()  # LABELS, SOURCES
    settings_type: ClassVar[type[Settings]]
    paper: ClassVar[Settings]  # the sizes of the publication
    paper_size: ClassVar[int] = 64
    paper_labels: ClassVar[int] = 0
    ema_decay: ClassVar[float] = 0.0  # 0: the last weights are kept

    def __init__(self, size: int, num_labels: int, settings: Any) -> None:
        super().__init__()
        if size < 8 or size & (size - 1):
            raise ValueError(
                f"{self.name}: the image side must be a power of two from 8, got {size}"
            )
        self.size, self.num_labels, self.settings = size, num_labels, settings
        self.channels = settings.channels

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the normal numbers that one sample is made from."""

    @abstractmethod
    def players(self) -> dict[str, Player]:
        """Who is trained. Weights of no player stay as they are."""

    @abstractmethod
    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        """What `player` lowers on a batch; `progress` is the share of the steps done, in [0, 1)."""

    @abstractmethod
    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        """Noise (N, *Z), labels (N, K), sources (N, 1, S, S) -> images (N, C, S, S), about
        [-1, 1]. No other random number."""

    def turns(self, progress: float) -> Sequence[str]:
        """The players that a step updates, in order."""
        return list(self.players())

    def rate(self, player: str, progress: float) -> float:
        """Factor of the player's learning rate."""
        return 1.0

    def prepare(self, records: Records, progress: float) -> None:
        """Called before each step, for what is computed once in the training."""

    def finish(self, records: Records) -> None:
        """Called after the last step."""

    fit = train  # see loop.py

    @torch.no_grad()
    def sample(
        self,
        labels: np.ndarray | Tensor,
        sources: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int = 64,
    ) -> np.ndarray:
        """One image (N, S, S) in [0, 1] for each row of labels (N, K) and, where it translates,
        each source (N, H, W). The noise of sample i depends on the seed and i alone."""
        labels = torch.as_tensor(np.asarray(labels, np.float32))
        given = None if sources is None else _pixels(sources, "sources")
        self.check(labels, given)
        self.eval()
        made = []
        for rows in torch.arange(len(labels)).split(batch_size):
            noise = torch.stack(
                [
                    torch.randn(
                        self.noise_shape, generator=derive_generator(seed, self.name, int(i))
                    )
                    for i in rows
                ]
            )
            images = self.generate(noise, labels[rows], None if given is None else given[rows])
            made.append(((images.mean(dim=1) + 1) / 2).clamp(0, 1))
        return torch.cat(made).numpy()

    def check(self, labels: Tensor, sources: Tensor | None) -> None:
        """ValueError for conditions of N samples that it cannot take."""
        if not len(labels):
            raise ValueError(f"{self.name}: expected a row of labels a sample, got none")
        if LABELS in self.uses and labels.shape[1:] != (self.num_labels,):
            raise ValueError(
                f"{self.name} takes labels (N, {self.num_labels}), got {tuple(labels.shape)}"
            )
        if LABELS in self.uses and not bool(torch.isin(labels, torch.tensor([0.0, 1.0])).all()):
            raise ValueError(f"{self.name} takes labels of 0 and 1; unknown ones are not filled in")
        if SOURCES in self.uses and sources is None:
            raise ValueError(f"{self.name} translates images: give sources (N, H, W)")
        expected = (len(labels), self.size, self.size)
        if SOURCES in self.uses and tuple(sources[:, 0].shape) != expected:
            raise ValueError(
                f"{self.name} expects sources {expected}, one a sample, got "
                f"{tuple(sources[:, 0].shape)}"
            )

    def check_records(self, records: Records) -> None:
        """ValueError for records that it cannot be trained on."""
        if len(records) < 2:
            raise ValueError(f"expected two training records or more, got {len(records)}")
        if records.images.shape[2:] != (self.size, self.size):
            height, width = records.images.shape[2:]
            raise ValueError(
                f"{self.name} is built for {self.size} x {self.size} pixels, got {height} x {width}"
            )
        self.check(records.labels, records.sources)

    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def save(self, folder: str | Path) -> None:
        """Weights (safetensors) and sizes (JSON), as `registry.load` reads them."""
        about = {"system": self.name, "size": self.size, "num_labels": self.num_labels}
        save_module(self, folder, about | {"settings": dataclasses.asdict(self.settings)})

    @classmethod
    def load(cls, folder: str | Path) -> "ImageBaseline":
        """A system that `save` wrote. ValueError where it is another one."""
        config = load_config(folder)
        if config.get("system") != cls.name:
            raise ValueError(
                f"{folder} holds the system {config.get('system')!r}, not {cls.name!r}"
            )
        settings = build_dataclass(cls.settings_type, config["settings"], f"{folder}, settings")
        system = cls(config["size"], config["num_labels"], settings)
        return load_module(system, folder).eval()
