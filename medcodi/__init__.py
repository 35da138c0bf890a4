"""medcodi: any-to-any generation of chest X-ray studies (MedCoDi-M with a table row as a fourth
modality)."""

import importlib.metadata

from medcodi.registration import register

__version__ = importlib.metadata.version("medcodi")
register()
