"""Generation: load a trained family and go from any subset of modalities to any other."""

from medcodi.pipeline.output import MedCoDiOutput
from medcodi.pipeline.pipeline import MedCoDiPipeline

__all__ = ["MedCoDiOutput", "MedCoDiPipeline"]
