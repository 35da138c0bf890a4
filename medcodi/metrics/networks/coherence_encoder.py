"""Does an image belong to a report? An encoder of its own, which the model under test never saw.

A small convolutional tower a view and a linear text tower on hashed words, trained contrastively on
REAL pairs; nothing is shared with the model's prompt encoders. Legend: N studies, H, W pixels, D =
64 width, V hashed words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.encoders.contrastive import infonce, positives
from medcodi.metrics.networks.architectures import SmallNetwork, acquired, as_small_pixels
from medcodi.metrics.networks.fitting import fit, one_cycle
from medcodi.nn.weights import load_config, load_module, save_module

WIDTH, WORDS, BATCH = 64, 4096, 64


class CoherenceEncoder(nn.Module):
    """`views` are the names of the image modalities, `text` the name of the report; each is encoded
    to unit vectors."""

    def __init__(self, views: Sequence[str], text: str, seed: int = 0) -> None:
        super().__init__()
        self.views, self.text, self.seed = tuple(views), text, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            towers = {view: SmallNetwork(WIDTH) for view in self.views}
            towers[text] = nn.Sequential(nn.Linear(WORDS, 128), nn.ReLU(), nn.Linear(128, WIDTH))
        self.towers = nn.ModuleDict(towers)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        names = [*self.views, self.text]
        return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]

    def inputs(self, name: str, values: Sequence[np.ndarray | str]) -> torch.Tensor:
        if name == self.text:
            return torch.from_numpy(_word_shares(values))
        return as_small_pixels(np.stack(values), name)

    def fit(
        self, values: Mapping[str, Sequence[np.ndarray | str]], num_steps: int = 250
    ) -> "CoherenceEncoder":
        """Train on N real complete studies, name -> N values; equal reports are positives of each
        other."""
        inputs = {name: self.inputs(name, values[name]) for name in self.towers}
        keys = torch.from_numpy(np.unique(np.asarray(values[self.text]), return_inverse=True)[1])
        num_rows = len(keys)
        if num_rows < 8:
            raise ValueError(
                f"the coherence encoder needs at least 8 complete training studies, got {num_rows}"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            fit(
                self,
                lambda rows: self._loss({n: part[rows] for n, part in inputs.items()}, keys[rows]),
                num_rows,
                None,
                one_cycle(num_steps, 2e-3, weight_decay=0.05, batch_size=min(BATCH, num_rows)),
            )
        return self.eval()

    def _loss(self, inputs: dict[str, torch.Tensor], keys: torch.Tensor) -> torch.Tensor:
        own = torch.arange(len(keys))
        key = {name: keys if name == self.text else own for name in self.towers}
        codes = {
            n: self._encode(n, x if n == self.text else acquired(x)) for n, x in inputs.items()
        }
        scale = self.log_scale.exp().clamp(max=100)
        return sum(
            infonce(codes[a], codes[b], scale, positives(key[a], key[b])) for a, b in self.pairs
        )

    def _encode(self, name: str, inputs: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.towers[name](inputs), dim=-1)

    @torch.inference_mode()
    def encode(self, name: str, values: Sequence[np.ndarray | str]) -> np.ndarray:
        """N values of a modality -> (N, D) unit vectors."""
        return (
            torch.cat([self._encode(name, part) for part in self.inputs(name, values).split(512)])
            .double()
            .numpy()
        )

    def save(self, folder: str | Path) -> None:
        save_module(self, folder, {"views": list(self.views), "text": self.text, "seed": self.seed})

    @classmethod
    def load(cls, folder: str | Path) -> "CoherenceEncoder":
        config = load_config(folder)
        return load_module(cls(config["views"], config["text"], config["seed"]), folder).eval()


def _word_shares(texts: Sequence[str]) -> np.ndarray:
    """(N, V) float32 unit vectors of hashed words and word pairs; no vocabulary to fit or store."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(n_features=WORDS, ngram_range=(1, 2), alternate_sign=False)
    return vectorizer.transform(texts).toarray().astype(np.float32)
