"""Format `dicom-dx`: as `dicom`, with images of the class Digital X-Ray Image, For Presentation.

Its modules (PS3.3 A.26) state things that Secondary Capture does not ask for: the spacing of the
pixels, which has to be given, the anatomy, the coded view and how numbers relate to the beam.
"""

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from medcodi.data.storage import Storage
from medcodi.generation.formats.base import Facts, GeneratedStudy
from medcodi.generation.formats.dicom import (
    ORIENTATION,
    DicomFormat,
    code,
    view_position,
)
from medcodi.modalities.base import Modality

# PS3.16 CID 4010 DX View
VIEW_CODES = {
    "PA": ("272479007", "postero-anterior"),
    "AP": ("399348003", "antero-posterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}


class DXFormat(DicomFormat):
    name = "dicom-dx"

    def __init__(self, modalities: Sequence[Modality], facts: Facts) -> None:
        super().__init__(modalities, facts)
        if not facts.pixel_spacing:
            raise ValueError(
                f"format {self.name!r} states the spacing of the pixels: give --pixel-spacing in mm"
            )
        for modality in self.modalities:
            if modality.storage == Storage.IMAGE and not modality.view:
                raise ValueError(
                    f"format {self.name!r} states the view of every image: the recipe lacks "
                    f"modalities.{modality.name}.view "
                    f"({', '.join(ORIENTATION)})"
                )

    def image(
        self, study: GeneratedStudy, modality: Modality, number: int, value: np.ndarray
    ) -> Dataset:
        ds = self.common(study, modality, number, DigitalXRayImageStorageForPresentation, "DX")
        ds.PresentationIntentType = "FOR PRESENTATION"
        self.add_picture(ds, study, modality, value)
        ds.AnatomicRegionSequence = [code("51185008", "SCT", "Chest")]
        ds.ImageLaterality = "U"
        ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = (
            "LOG",
            -1,
        )  # white: least beam
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
        ds.PresentationLUTShape = "IDENTITY"
        ds.DetectorType = ds.PositionerType = ""
        ds.ImagerPixelSpacing = [self.facts.pixel_spacing] * 2
        meaning = VIEW_CODES[view_position(study, modality)]
        view = code(meaning[0], "SCT", meaning[1])
        view.ViewModifierCodeSequence = []
        ds.ViewCodeSequence = [view]
        ds.AcquisitionContextSequence = []
        return ds
