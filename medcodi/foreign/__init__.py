"""Weights that others trained, into the networks of a recipe: strictly, with every key accounted
for."""

from medcodi.foreign.assets import family_of
from medcodi.foreign.importing import import_autoencoder, import_denoiser, import_encoder
from medcodi.foreign.start import start_stage

__all__ = ["family_of", "import_autoencoder", "import_denoiser", "import_encoder", "start_stage"]
