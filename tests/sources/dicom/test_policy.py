"""Greys that mislead: windows that do not fit, unused bits, contradictions, one value."""

import numpy as np
import pytest

from medcodi.data.greys import GreyLimits
from medcodi.sources.archive.options import DicomOptions, RejectedError
from medcodi.sources.dicom.grey import grey_scale
from medcodi.sources.dicom.pixels import prepared_image
from tests.sources.dicom_files import image

SHARE = np.linspace(0, 1, 64 * 64).reshape(64, 64)  # a ramp


def options(**values):
    return DicomOptions("a", "b", "c", size=64, **values)


def film(low=800, high=3000, bits=12, **attributes):
    """A ramp from `low` to `high`."""
    kind = np.int16 if low < 0 else np.uint16
    return image((low + SHARE * (high - low)).round().astype(kind), bits=bits, **attributes)


def window(center, width, **attributes):
    return {"WindowCenter": center, "WindowWidth": width, **attributes}


@pytest.mark.parametrize(
    "attributes, why",
    [
        (window(1000, 400), "white"),
        (window(2600, 400), "black"),
        (window(1900, 2), "the greys hold"),
        (window(1900, 40000), "98 % of the greys"),
        ({"BitsStored": 16, "HighBit": 15}, "of the stored range is used"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 2200}, "the value of padding"),
        ({"PresentationLUTShape": "INVERSE"}, "contradicts MONOCHROME2"),
    ],
)
def test_suspects_are_told(attributes, why):
    found = prepared_image(film(**attributes), options(), 1.0)
    assert any(why in note for note in found.notes), found.notes
    with pytest.raises(RejectedError, match="the greys are suspect: .*" + why.split()[0]):
        prepared_image(film(**attributes), options(suspects="refuse"), 1.0)
    assert prepared_image(film(**attributes), options(suspects="accept"), 1.0).notes == []


def test_a_strip_is_a_suspect():
    strip = prepared_image(image(np.tile(film().pixel_array[:4], (1, 4))), options(), 1.0)
    assert any("one side over 4 times the other" in note for note in strip.notes)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        window(1900, 2200),
        window(2048, 4096),
        window(1900, 900, VOILUTFunction="SIGMOID"),
        {"BitsStored": 16, "HighBit": 15, **window(1900, 2200)},
        {"PresentationLUTShape": "IDENTITY"},
        {"PresentationLUTShape": "INVERSE", "PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": "", "RescaleIntercept": ""},
    ],
)
def test_plain_images_are_no_suspects(attributes):
    assert prepared_image(film(**attributes), options(suspects="refuse"), 1.0).notes == []


@pytest.mark.parametrize(
    "attributes",
    [
        window(30000, 1000),
        window(40, 400),
        {"PixelPaddingValue": 800, "PixelPaddingRangeLimit": 3000},
    ]
    + [window(1900, width) for width in (0, -5, "inf", "nan")],
)
def test_what_shows_nothing_is_refused(attributes):
    for key in ("WindowWidth", "WindowCenter"):
        if key in attributes:
            attributes = {**attributes, key: float(attributes[key])}
    with pytest.raises(RejectedError, match=r"nothing|padding covers|window"):
        prepared_image(film(**attributes), options(), 1.0)


def test_an_image_of_one_value_is_refused_unless_all_are_accepted():
    flat = image(np.full((64, 64), 1000, np.uint16))
    with pytest.raises(RejectedError, match="every pixel is shown alike"):
        prepared_image(flat, options(), 1.0)
    accepted = prepared_image(flat, options(suspects="accept"), 1.0).image
    np.testing.assert_allclose(accepted, 1000 / 4095, atol=1e-4)


@pytest.mark.parametrize(
    "attributes, expected, flags",
    [
        (window(30000, 1000), (800 + SHARE * 2200) / 4095, ["window ignored"]),
        (window(1900, 0), (800 + SHARE * 2200) / 4095, ["window ignored"]),
        ({"BitsStored": 16, "HighBit": 15}, SHARE, ["range of the values taken"]),
        ({"BitsStored": 16, "HighBit": 15, **window(9, 9)}, SHARE, ["range of the values taken"]),
        (window(1900, 2200), None, []),
    ],
)
def test_windows_that_do_not_fit_are_left_out_on_request(attributes, expected, flags):
    found = prepared_image(film(**attributes), options(suspects="ignore_window"), 1.0)
    assert found.flags == flags and found.notes == []
    if expected is not None:
        np.testing.assert_allclose(found.image, expected, atol=1e-3)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["INVERSE", "IDENTITY", "", None])
def test_polarity(photometric, shape):
    """Inverted where either asks for it, and once only; a contradiction is noted."""
    ds = film(PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    scale = grey_scale(ds, True)
    inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    assert (scale.table[0] > scale.table[-1]) == inverted
    agree = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric]
    assert bool(scale.notes) == (shape not in (agree, "", None))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_negative_slope_turns_the_greys_with_and_without_a_window(function):
    """Rescaled values are what is shown: 4095 - v of the file, bright where v is small."""
    negative = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    mirrored = film(4095 - 800, 4095 - 3000)
    plain = prepared_image(film(**negative), options(), 1.0).image
    np.testing.assert_allclose(plain, prepared_image(mirrored, options(), 1.0).image, atol=1e-6)
    shown = window(2195, 1800, VOILUTFunction=function)
    ours = prepared_image(film(**negative, **shown), options(), 1.0).image
    expected = film(4095 - 800, 4095 - 3000, **shown)
    np.testing.assert_allclose(ours, prepared_image(expected, options(), 1.0).image, atol=1e-6)
    assert ours[0, 0] > ours[-1, -1]


def test_the_look_of_min_max_and_of_equalised_images():
    curved = image((800 + SHARE**3 * 2200).round().astype(np.uint16), **window(30000, 1000))
    stretched = prepared_image(curved, options(look="min_max"), 1.0).image
    np.testing.assert_allclose(stretched, SHARE**3, atol=1e-3)
    flat = prepared_image(curved, options(look="equalised"), 1.0)
    levels = np.floor(stretched * 255 + 1e-6)
    rank = np.searchsorted(np.sort(levels.reshape(-1)), levels, side="right")
    first = (levels == 0).sum()
    np.testing.assert_allclose(
        flat.image, np.rint(255 * (rank - first) / (levels.size - first)) / 255, atol=2e-3
    )
    inverted = film(PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(
        prepared_image(inverted, options(look="min_max"), 1.0).image, 1 - SHARE, atol=1e-3
    )


def test_padding_does_not_count():
    """A black frame that the header calls padding is neither a suspect nor an end of the range."""
    pixels = (800 + SHARE * 2200).round().astype(np.uint16)
    pixels[:24], pixels[-6:] = 0, 0
    found = prepared_image(image(pixels, PixelPaddingValue=0), options(look="min_max"), 1.0)
    assert found.notes == [] and found.greys.black < 0.01
    assert prepared_image(image(pixels), options(), 1.0).notes  # nothing says that it is padding


def test_signed_values_are_judged_as_unsigned_ones():
    found = prepared_image(film(-1000, 1000, **window(0, 2000)), options(), 1.0)
    assert found.notes == []
    np.testing.assert_allclose(found.image, SHARE, atol=2e-3)


def test_wrong_options():
    for name, value in (("look", "clahe"), ("suspects", "drop")):
        with pytest.raises(ValueError, match=f"options.{name} must be one of .*'{value}'"):
            options(**{name: value})
    with pytest.raises(ValueError, match="max_black must lie in"):
        GreyLimits(max_black=2)
