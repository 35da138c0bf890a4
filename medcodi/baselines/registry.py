"""All image systems by name, at small sizes and at those of their papers."""

from pathlib import Path

from medcodi.baselines.alpha_gan import AlphaGAN
from medcodi.baselines.base import ImageBaseline, Settings
from medcodi.baselines.beta_vae import BetaVAE
from medcodi.baselines.class_ldm import ClassLDM
from medcodi.baselines.codes import Autoencoder, PCACodes
from medcodi.baselines.dcgan import DCGAN
from medcodi.baselines.latent_class import LatentClass
from medcodi.baselines.pggan import PGGAN
from medcodi.baselines.pix2pix import Pix2Pix
from medcodi.config_io import unknown_key
from medcodi.nn.weights import load_config

SYSTEMS: dict[str, type[ImageBaseline]] = {
    system.name: system
    for system in (
        *(ClassLDM, PGGAN, LatentClass, DCGAN, Pix2Pix),
        *(BetaVAE, AlphaGAN, Autoencoder, PCACodes),
    )
}


def build(name: str, size: int, num_labels: int, settings: Settings | None = None) -> ImageBaseline:
    """A system with its first weights, for images of a power of two pixels. `settings` default to
    sizes that two CPU cores train on 64 x 64 pixels. ValueError for an unknown name."""
    system = _named(name)
    return system(size, num_labels, settings or system.settings_type())


def build_paper(name: str) -> ImageBaseline:
    """A system at the size of its publication; build it on the meta device to count."""
    system = _named(name)
    return system(system.paper_size, system.paper_labels, system.paper)


def load(folder: str | Path) -> ImageBaseline:
    """A system that `save` wrote, whichever it is."""
    return _named(str(load_config(folder).get("system"))).load(folder)


def _named(name: str) -> type[ImageBaseline]:
    if name not in SYSTEMS:
        raise unknown_key(name, SYSTEMS, "the systems")
    return SYSTEMS[name]
