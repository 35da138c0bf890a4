"""medcodi: any-to-any generation of chest X-ray studies (MedCoDi-M with a table row as a fourth
modality)."""

__version__ = "0.1.0"
