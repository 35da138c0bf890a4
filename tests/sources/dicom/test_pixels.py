"""From stored values to the prepared image: greys, geometry, transfer syntaxes."""

import base64
import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from medcodi.data.png import decode_image, encode_image
from medcodi.sources.archive.options import DicomOptions, RejectedError
from medcodi.sources.dicom.checks import describe_image, pixel_spacing
from medcodi.sources.dicom.grey import grey_scale
from medcodi.sources.dicom.opening import open_dicom
from medcodi.sources.dicom.pixels import decode, prepared_image
from medcodi.sources.images import block_means, fit_square
from tests.sources.dicom_files import image, ramp, save

KEY = b"0123456789abcdef"
MR_SMALL = [
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
]


def options(size=64, **values):
    return DicomOptions("a", "b", "c", size=size, **values)


def reread(ds: pydicom.Dataset) -> pydicom.Dataset:
    """What a file with this data set holds."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=False)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def square(ds: pydicom.Dataset, how: DicomOptions, aspect: float) -> np.ndarray:
    return prepared_image(ds, how, aspect).image


def lookup(entries: int, first: int, bits: int, data: np.ndarray) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [entries, first, bits], data.astype(np.uint16).tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return item


def test_all_twelve_bits_of_the_source_survive():
    levels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    stored = decode_image(encode_image(square(reread(image(levels)), options(64), 1.0)))
    np.testing.assert_array_equal(np.round(stored * 4095).astype(np.uint16), levels)
    np.testing.assert_array_equal(
        np.round(stored * 65535), np.round(levels / 4095 * 65535)
    )  # the nearest of 16 bits


def test_sixteen_bits_survive_too():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    stored = decode_image(encode_image(square(reread(image(levels, bits=16)), options(256), 1.0)))
    np.testing.assert_array_equal(np.round(stored * 65535).astype(np.uint16), levels)


def test_more_than_twelve_bits_of_levels_survive_the_resize():
    """A ramp of 4,096 levels, 16 times smaller, still has as many different greys as pixels of its
    row."""
    levels = np.tile(np.linspace(0, 4095, 4096).round().astype(np.uint16), (4096, 1))
    row = square(reread(image(levels)), options(256), 1.0)[128]
    assert len(np.unique(np.round(row * 65535))) == 256
    np.testing.assert_allclose(
        row[4:-4], ((np.arange(256) + 0.5) * 16 - 0.5)[4:-4] / 4095, atol=0.5 / 4095
    )


def two_steps(
    pixels: np.ndarray, spacing: tuple[float, float], common: float, size: int
) -> np.ndarray:
    """The paper's order, in floats: resample to the common spacing, pad to a square, resize."""
    height, width = (round(n * s / common) for n, s in zip(pixels.shape, spacing, strict=True))
    picture = Image.fromarray(pixels.astype(np.float32) / 4095).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(resized), 0, 1)


@pytest.mark.parametrize("spacing", [(0.14, 0.14), (0.2, 0.2), (0.3, 0.15), (0.15, 0.3)])
@pytest.mark.parametrize(
    "shape", [(480, 400), (1203, 1001)]
)  # whole blocks, and parts of them at the edges
def test_one_resampling_equals_the_steps_of_the_paper(shape, spacing):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    smooth = (2000 + 1500 * np.sin(x / 30) * np.cos(y / 40)).astype(np.uint16)
    ours = square(
        reread(image(smooth, PixelSpacing=list(spacing))), options(64), spacing[0] / spacing[1]
    )
    difference = np.abs(ours - two_steps(smooth, spacing, 0.14, 64))
    rounded = spacing[0] != 0.14  # the steps themselves make whole pixels of the first resampling
    assert difference.mean() < (0.003 if rounded else 0.001) and difference.max() < (
        0.05 if rounded else 0.01
    )


def test_averaging_blocks_first_changes_little():
    """Noise, edges and fine lines, 16 times smaller: within 1 / 300 (root mean square) of Lanczos
    on all pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 800, (1029, 830)) + 1500
    pixels[200:700, 300:320], pixels[500:502, :] = 4095, 0
    ours = square(reread(image(pixels.astype(np.uint16))), options(64), 1.0)
    difference = ours - two_steps(pixels, (0.14, 0.14), 0.14, 64)
    assert 0 < np.sqrt((difference**2).mean()) < 1 / 300


@pytest.mark.parametrize(
    "shape, down, across", [((7, 9), 3, 2), ((6, 4), 3, 4), ((1, 5), 4, 2), ((5, 5), 1, 1)]
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_block_means(shape, down, across, kind):
    pixels = (np.random.default_rng(0).random(shape) * 65535).astype(kind)
    expected = [
        [
            pixels[top : top + down, left : left + across].astype(float).mean()
            for left in range(0, shape[1], across)
        ]
        for top in range(0, shape[0], down)
    ]
    np.testing.assert_allclose(block_means(pixels, down, across), expected, rtol=1e-6)


def test_an_image_that_is_one_line():
    """Millions of times as wide as high: no overflow, no memory for a square of it."""
    pixels = np.full((1, 3_000_000), 65535, np.uint16)
    line = fit_square(pixels, 16, grey=lambda means: means / np.float32(65535))
    assert line.shape == (16, 16) and line.max() < 1e-3


def test_padding_is_black_and_centred_for_both_photometric_interpretations():
    white = np.full((20, 10), 4095, np.uint16)
    for photometric, value in (("MONOCHROME2", 1.0), ("MONOCHROME1", 0.0)):
        picture = square(
            reread(image(white, PhotometricInterpretation=photometric)),
            options(20, suspects="accept"),
            1.0,
        )
        assert (
            np.all(picture[:, 5:15] == value)
            and not picture[:, :5].any()
            and not picture[:, 15:].any()
        )


def test_monochrome1_is_inverted():
    plain = square(reread(image(ramp(32, 32))), options(32), 1.0)
    inverted = square(
        reread(image(ramp(32, 32), PhotometricInterpretation="MONOCHROME1")), options(32), 1.0
    )
    np.testing.assert_allclose(plain + inverted, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 1000, "WindowWidth": 500},
        {"WindowCenter": [1000, 2000], "WindowWidth": [500, 700]},
        {"WindowCenter": 1000, "WindowWidth": 500, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 1000, "WindowWidth": 500, "VOILUTFunction": "LINEAR_EXACT"},
        {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 1000, "WindowWidth": 500},
        {"VOILUTSequence": [lookup(1024, 512, 12, np.linspace(0, 4095, 1024))]},
        {"ModalityLUTSequence": [lookup(4096, 0, 16, np.linspace(65535, 0, 4096))]},
    ],
    ids="+".join,
)
def test_greys_are_those_of_pydicom(attributes):
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    ds = reread(image(pixels, **attributes))
    expected = apply_voi_lut(np.asarray(apply_modality_lut(pixels, ds)), ds, index=0).astype(
        np.float64
    )
    low, high = (-100, 2 * 4095 - 100) if "RescaleSlope" in attributes else (0, 4095)
    high = 65535 if "ModalityLUTSequence" in attributes else high
    ours = square(ds, options(64), 1.0)
    np.testing.assert_allclose(ours, (expected - low) / (high - low), atol=1 / 65535)


def test_a_lookup_table_of_eight_bits_with_more_than_256_entries():
    data = np.repeat(np.arange(256), 16)
    ds = reread(image(VOILUTSequence=[lookup(4096, 0, 8, data)]))
    np.testing.assert_allclose(grey_scale(ds, True).table, data / 255)


def test_the_window_is_an_option():
    ds = reread(image(WindowCenter=1000, WindowWidth=500))
    assert not grey_scale(ds, True).linear and grey_scale(ds, False).linear


def test_a_window_over_all_values_changes_nothing():
    ds = reread(image(WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(grey_scale(ds, True).table, np.arange(4096) / 4095, atol=1e-12)


@pytest.mark.parametrize(
    "attributes, padding",
    [
        ({"PixelPaddingValue": 0}, [0]),
        ({"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}, [0]),
        ({"PixelPaddingValue": 4095}, [4095]),
        ({"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095}, range(4000, 4096)),
        (
            {
                "PixelPaddingValue": 10,
                "PixelPaddingRangeLimit": 0,
                "PhotometricInterpretation": "MONOCHROME1",
            },
            range(11),
        ),
        ({"PixelPaddingValue": 40000}, []),  # no pixel of 12 bits
    ],
)
def test_pixels_that_only_pad_the_image_are_black(attributes, padding):
    levels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    plain = {key: value for key, value in attributes.items() if not key.startswith("PixelPadding")}
    expected = square(reread(image(levels, **plain)), options(64), 1.0).reshape(-1)
    expected[list(padding)] = 0
    ours = square(reread(image(levels, **attributes)), options(64), 1.0).reshape(-1)
    np.testing.assert_allclose(ours, expected, atol=1 / 65535)


def test_signed_padding():
    signed = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
    ours = square(reread(image(signed, PixelPaddingValue=-2000)), options(64), 1.0).reshape(-1)
    assert ours[48] == 0 and ours[47] == pytest.approx(47 / 4095, abs=1e-4)


def test_signed_values_are_shifted():
    signed = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
    ours = square(reread(image(signed)), options(64), 1.0)
    np.testing.assert_allclose(ours, (signed.astype(np.float64) + 2048) / 4095, atol=1e-4)


def test_unused_bits_do_not_count():
    pixels = ramp(32, 32)
    overlay = pixels | np.uint16(0x8000)
    np.testing.assert_array_equal(decode(reread(image(overlay))), pixels)


@pytest.mark.parametrize("name", MR_SMALL)
def test_transfer_syntaxes_give_equal_images(name):
    """The wheel's MR image in its encodings: uncompressed, RLE, JPEG 2000, JPEG-LS."""
    wide = options(64, modalities=[], body_parts=[])
    first, other = (open_dicom(get_testdata_file(n), 1 << 20) for n in ("MR_small.dcm", name))
    for ds in (first, other):
        ds.BitsStored, ds.BitsAllocated = int(ds.BitsStored), int(ds.BitsAllocated)
    np.testing.assert_array_equal(square(other, wide, 1.0), square(first, wide, 1.0))


@pytest.mark.parametrize("syntax", [pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless])
def test_lossless_compression_keeps_all_bits(tmp_path, syntax):
    pixels = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    ds = image(pixels)
    ds.compress(syntax)
    back = open_dicom(save(ds, tmp_path / "a.dcm"), 1 << 20)
    np.testing.assert_array_equal(decode(back), pixels)


JPEG_LS = {  # (bits stored, signed) -> lossless streams of 8 x 8 ramps, made with CharLS 2.4
    (12, True): (
        "/9j/9wALDAAIAAgBAREA/9oACAEBAAAAAAAAAAAf/SD/f17eXd1AACgQkB/Pj08EIg52dHJwbmxAEGNTQzMjEwfx"
        "BUCCCEIQAAAoLy4tLCsqPhBCkoJyYlJD0QMjIiEgfvjw/9k=",
        "/9j/9wALEAAIAAgBAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAA/9IGP8+z3ebvdUEJBSAn6fL1eJBIHXa6XK"
        "4W62SAQMtXRzcnFwT8gVACAIAgEAgEAEEN7c2tjW1J8QI0tDOzMrIvSA2NiYWBfXl4D/2Q==",
    ),
    (10, True): (
        "/9j/9wALEAAIAAgBAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAH/oPwdh2GYvFYrQSEEHoehqMRaEVBIpEpKO"
        "jIqD1AoqKiIqIhocwCAEAQBAIBAIAUEjRo0aREhq/I0SJEjRIxfkaJEhRIUW/9k=",
    ),
    (8, False): ("/9j/9wALCAAIAAgBAREA/9oACAEBAAAAAJ3df3AACEZtoQAANKqZ9V0ff51/nHnnH8D/2Q==",),
    (7, False): ("/9j/9wALBwAIAAgBAREA/9oACAEBAAAAAJt+8AAIlWQAAX6e/nv5r+x/W/j/2Q==",),
}


@pytest.mark.parametrize(
    "bits, signed, stream", [(*key, one) for key, streams in JPEG_LS.items() for one in streams]
)
def test_jpeg_ls_in_sixteen_allocated_bits(bits, signed, stream):
    """Fewer bits stored than allocated, also coded in 8 bits, and two's complement coded in 12 or
    in 16."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.linspace(low, low + 2**bits - 1, 64).round().astype(np.int64).reshape(8, 8)
    ds = image(values.astype(np.int16 if signed else np.uint16), bits=bits)
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    ds.PixelData = pydicom.encaps.encapsulate([base64.b64decode(stream)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    np.testing.assert_array_equal(decode(reread(ds)), values % 2**bits)


def test_a_grey_jpeg_of_eight_bits(tmp_path):
    pixels, buffer = ramp(32, 32, 8).astype(np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    ds = image(pixels, bits=8)
    ds.PixelData = pydicom.encaps.encapsulate([buffer.getvalue()])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    back = open_dicom(save(ds, tmp_path / "a.dcm"), 1 << 20)
    assert np.abs(decode(back).astype(int) - pixels).max() <= 4


def test_a_deflated_file_keeps_all_bits(tmp_path):
    ds = image(ramp(32, 32))
    ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    back = open_dicom(save(ds, tmp_path / "a.dcm"), 1 << 20)
    np.testing.assert_array_equal(decode(back), ramp(32, 32))
    assert describe_image(back, options(), KEY).view == "front"


@pytest.mark.parametrize(
    "attributes, reason",
    [
        ({"Rows": 60000, "Columns": 60000}, "too large: 60000 x 60000"),
        ({"Rows": 0}, "the image is empty"),
        ({"Rows": None}, "Rows is missing"),
        ({"Modality": "CT"}, "Modality is CT, none of CR"),
        ({"Modality": "JONES"}, "Modality is another value"),
        ({"BodyPartExamined": "HAND"}, "BodyPartExamined is none of CHEST"),
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation is YES"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "not a greyscale image"),
        ({"NumberOfFrames": 2}, "has 2 frames"),
        ({"BitsStored": 17}, "17 bits stored of 16"),
        ({"HighBit": 15}, "HighBit is 15"),
        ({"StudyInstanceUID": ""}, "StudyInstanceUID is missing"),
        ({"PatientID": ""}, "PatientID is blank"),
        ({"PixelSpacing": [0.0, 0.1]}, "no pair of positive numbers"),
        ({"PixelSpacing": [10.0, 0.1]}, "implausible"),
        ({"ViewPosition": "LLO"}, "the view is unknown"),
        ({"PixelData": None}, "holds no pixel data"),
        ({"PixelData": b""}, "the pixel data is empty"),
        ({"PixelData": None, "FloatPixelData": bytes(1920)}, "holds floating point pixels"),
    ],
)
def test_headers_that_are_refused(attributes, reason):
    with pytest.raises(RejectedError, match=reason):
        describe_image(reread(image(**attributes)), options(), KEY)


@pytest.mark.parametrize(
    "attributes, reason",
    [
        ({"PixelData": ramp().tobytes()[:-40]}, "has 920 bytes, expected 960: truncated"),
        ({"PixelData": ramp().tobytes() * 2}, "more than the header describes"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "makes every grey equal"),
        ({"WindowCenter": 10, "WindowWidth": 0}, "no width that LINEAR can have"),
        ({"VOILUTSequence": [lookup(4096, 0, 12, np.arange(100))]}, "has 100 entries"),
    ],
)
def test_pixels_that_are_refused(attributes, reason):
    with pytest.raises(RejectedError, match=reason):
        square(reread(image(**attributes)), options(), 1.0)


def test_a_wrong_transfer_syntax_is_refused(tmp_path):
    ds = open_dicom(save(image(), tmp_path / "a.dcm"), 1 << 20)
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    with pytest.raises(RejectedError, match="it says compressed, the pixel data is not"):
        decode(ds)


def test_the_spacing_of_the_patient_comes_before_that_of_the_detector():
    assert pixel_spacing(image(ImagerPixelSpacing=[0.2, 0.2])) == [0.14, 0.14]
    assert pixel_spacing(image(PixelSpacing=None, ImagerPixelSpacing=[0.2, 0.2])) == [0.2, 0.2]
    assert pixel_spacing(image(PixelSpacing=None)) is None
