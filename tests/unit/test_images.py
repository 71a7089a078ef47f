"""Encoded images to pixels: what a person expects to see, or an error that says why not."""

import io
import struct
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from zpipe.errors import FrameError
from zpipe.images import opencv
from zpipe.images.decoding import decode
from zpipe.images.headers import read_header

LIMIT = 178_956_970


def allocate(height, width):
    return np.full((height, width, 3), 77, np.uint8)


def pattern(mode="RGB", size=(64, 48)):
    """Four flat quarters and a mark in one corner: survives lossy formats, tells all eight orientations apart."""
    width, height = size
    picture = Image.new("RGB", size, (10, 20, 220))
    picture.paste((250, 20, 30), (0, 0, width // 2, height // 2))
    picture.paste((20, 200, 30), (width // 2, height // 2, width, height))
    picture.paste((255, 255, 255), (0, 0, 16, 8))
    return picture.convert(mode)


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def as_seen(data):
    """What Pillow makes of it: first frame, upright, over white, BGR."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    page = Image.new("RGBA", picture.size, "white")
    return np.array(Image.alpha_composite(page, picture).convert("RGB"))[:, :, ::-1]


def image_size(data):
    """Width and height by the header alone, as a person sees the picture; orientations 5 to 8 lie on their side."""
    header = read_header(memoryview(data))
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def assert_looks_alike(data, tolerance=1.0):
    expected = as_seen(data)
    got = decode(data, allocate, LIMIT)
    assert got.shape == expected.shape
    assert image_size(data) == (expected.shape[1], expected.shape[0])
    assert np.abs(got.astype(int) - expected).mean() <= tolerance


MODES = {
    **dict.fromkeys(["PNG", "WEBP", "AVIF", "GIF"], ("RGB", "L", "1", "P", "RGBA", "LA")),
    "TIFF": ("RGB", "L", "1", "P", "RGBA"),  # OpenCV drops the alpha of gray TIFFs
    "BMP": ("RGB", "L", "1", "P"),  # nobody honours alpha in a BMP
    **dict.fromkeys(["JPEG", "PPM"], ("RGB", "L", "1")),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in MODES for mode in MODES[kind]])
def test_formats_and_modes(kind, mode):
    assert_looks_alike(encoded(pattern(mode), kind), tolerance=3.0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied(kind, orientation):
    picture = pattern()
    if kind == "TIFF":
        data = encoded(picture, kind, tiffinfo={274: orientation})
    else:
        exif = picture.getexif()
        exif[0x0112] = orientation
        data = encoded(picture, kind, exif=exif)
    assert_looks_alike(data, tolerance=3.0)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_kinds_of_jpeg(mode, options):
    if mode == "CMYK":  # Pillow writes Adobe's inverted form, as everybody does
        options = {"quality": 95}
    assert_looks_alike(encoded(pattern(mode), "JPEG", **options))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled(kind):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = decode(encoded(Image.fromarray(ramp), kind), allocate, LIMIT)
    assert np.array_equal(got[:, :, 0], np.round(ramp / 257))
    assert np.array_equal(got[:, :, 0], got[:, :, 2])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_lies_over_white(kind):
    picture = Image.new("RGBA", (32, 32), (200, 100, 50, 255))
    picture.paste((1, 2, 3, 0), (0, 0, 16, 16))
    picture.paste((0, 0, 0, 128), (16, 0, 32, 16))
    got = decode(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})), allocate, LIMIT)
    assert got[4, 4].tolist() == [255, 255, 255]
    assert got[4, 28].tolist() == pytest.approx([127] * 3, abs=1)
    assert got[28, 4].tolist() == [50, 100, 200]


def test_jpeg_lands_in_allocated_memory_and_equals_other_decoders():
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (97, 131, 3), np.uint8), (0, 0), 3)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    memory = bytearray(97 * 131 * 3)
    room = np.frombuffer(memory, np.uint8).reshape(97, 131, 3)
    got = decode(memoryview(data), lambda height, width: room, LIMIT)
    assert got is room
    assert np.array_equal(np.frombuffer(memory, np.uint8).reshape(97, 131, 3), got)
    assert np.abs(got.astype(int) - cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM"])
def test_limit_is_checked_before_memory_is_allocated(kind):
    def never(height, width):
        raise AssertionError("allocated")

    data = encoded(pattern(), kind)
    with pytest.raises(FrameError, match=r"64×48 is .* megapixels; the limit is .*max_pixels"):
        decode(data, never, 64 * 48 - 1)
    assert decode(data, allocate, 64 * 48).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\xff\xd8\xff", "JPEG file with a damaged or incomplete header"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", "PNG file with a damaged or incomplete header"),
        (b"\0\0\1\0\1\0" + bytes(40), "a file of type icon, which zpipe does not read"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "TIFF file with a damaged or incomplete header"),  # Edge 11: a BigTIFF
        (b"MM\0+\0\x08\0\0" + b"\xff" * 8, "TIFF file with a damaged or incomplete header"),
        (b"hello", "not an image: begins with b'hello'"),
    ],
)
def test_what_is_no_image_says_so(start, reason):
    with pytest.raises(FrameError, match=reason):
        image_size(start)
    with pytest.raises(FrameError, match=reason):
        decode(start, allocate, LIMIT)


def test_lying_chunk_length_allocates_nothing():
    data = bytearray(encoded(pattern(), "PNG"))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = b"\x7f\xff\xff\xff"  # OpenCV allocates these 2 GB
    with pytest.raises(FrameError, match="truncated or damaged"):
        decode(bytes(data), allocate, LIMIT)


def test_holes_of_a_sparse_png_are_no_chunks():
    """Edge 28: gone through 12 bytes at a time, a hole of 1 GB took minutes."""
    data = encoded(pattern(), "PNG")[:33] + bytes(1000)
    with pytest.raises(FrameError, match="should be a chunk"):
        decode(data, allocate, LIMIT)


def test_giant_tiles_are_refused():
    fields = {256: 64, 257: 48, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1 << 20, 323: 1 << 20, 324: 8, 325: 8}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    data = struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + directory + bytes(4)
    with pytest.raises(FrameError, match="64×48 in tiles of 1048576×1048576"):
        decode(data, allocate, LIMIT)


def test_float_samples_are_refused():
    data = encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")
    with pytest.raises(FrameError, match="float32"):
        decode(data, allocate, LIMIT)


def test_c_libraries_print_nothing(data, capfd):
    for name in ("broken_data_stream.png", "unknown_compression_method.png", "junk_jpeg_header.jpg", "multipage.tiff"):
        outcome((data / "broken" / name).read_bytes())
    assert capfd.readouterr().err == ""


REJECT = "reject"
EITHER = "either"
OUTCOMES = {  # width and height upright, or the refusal; as ../shared/data/MANIFEST.md states them
    "apng_dispose_op_background.png": (128, 64),
    "avif_hopper.avif": (128, 128),
    "bmp_b_badrle.bmp": EITHER,
    "bmp_b_badwidth.bmp": REJECT,
    "bmp_b_reallybig.bmp": REJECT,
    "bmp_b_shortfile.bmp": REJECT,
    "bmp_g_pal8rle.bmp": (127, 64),
    "bmp_g_rgb16-565.bmp": (127, 64),
    "broken.png": REJECT,
    "broken_data_stream.png": REJECT,
    "broken_exif_dpi.jpg": (100, 100),
    "chi.gif": (320, 240),
    "crash-338516dbd2f0e83caddb8ce256c22db3bd6dc40f.tif": REJECT,
    "decompression_bomb.gif": REJECT,
    "dispose_bgnd.gif": (100, 100),
    "exif_Landscape_6.jpg": (1800, 1200),
    "gen_bitflip.jpg": (480, 640),
    "gen_bomb_30000x30000_1bit.png": REJECT,
    "gen_html_404.jpg": REJECT,
    "gen_png_named.jpg": (160, 120),
    "gen_random_2k.jpg": REJECT,
    "gen_text.jpg": REJECT,
    "gen_trailing_garbage.jpg": (480, 640),
    "gen_trunc50.jpg": REJECT,
    "gen_trunc_header100.jpg": REJECT,
    "gen_zero_byte.jpg": REJECT,
    "hopper.bmp": (128, 128),
    "hopper_bad_exif.jpg": (500, 500),
    "hopper_gray.jpg": (128, 128),
    "hopper_lzw.tif": (128, 128),
    "hopper_orientation_3.jpg": (128, 128),
    "hopper_orientation_6.jpg": (128, 128),
    "hopper_orientation_6.webp": (128, 128),
    "irs_basn6a16.png": (32, 32),
    "irs_cat.jpg": (320, 240),
    "junk_jpeg_header.jpg": (1024, 768),
    "multipage.tiff": (10, 10),
    "negative_size.ppm": REJECT,
    "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": REJECT,
    "pil_sample_cmyk.jpg": (100, 100),
    "png_decompression_dos.png": EITHER,
    "tRNS_null_1x1.png": (1, 1),
    "tiff_16bit_RGB.tiff": (100, 40),
    "transparent.png": (200, 150),
    "transparent.webp": (200, 150),
    "truncated_end_chunk.png": REJECT,
    "truncated_image.png": REJECT,
    "truncated_jpeg.jpg": REJECT,
    "unknown_compression_method.png": EITHER,
    "zero_width.gif": REJECT,
}


@pytest.mark.data
@pytest.mark.parametrize("name", OUTCOMES)
def test_broken_and_odd_files(data, name):
    encoded = (data / "broken" / name).read_bytes()
    first, second = outcome(encoded), outcome(encoded)
    assert first == second
    if OUTCOMES[name] == REJECT:
        assert isinstance(first, str)
    elif OUTCOMES[name] != EITHER:
        assert first[:2] == OUTCOMES[name]
        assert image_size(encoded) == OUTCOMES[name]


def outcome(encoded):
    """Width, height and pixels, or the reason."""
    try:
        picture = decode(encoded, allocate, LIMIT)
    except FrameError as error:
        return str(error)
    return picture.shape[1], picture.shape[0], picture.tobytes()


@pytest.mark.data
def test_all_broken_files_have_an_outcome(data):
    assert {path.name for path in (data / "broken").iterdir() if path.is_file()} == OUTCOMES.keys()


ODD = {name for name, size in OUTCOMES.items() if isinstance(size, tuple)} - {
    *("gen_bitflip.jpg",),  # decoders differ in what they make of the damage
    *("irs_basn6a16.png", "tiff_16bit_RGB.tiff"),  # Pillow makes 8 bits of 16 in its own way
}


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_files_look_as_elsewhere(data, name):
    tolerance = 5.0 if name == "bmp_g_rgb16-565.bmp" else 1.0  # 5 bits become 8 with or without filling the last 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is odd in the file
        assert_looks_alike((data / "broken" / name).read_bytes(), tolerance)


STARTS = [
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP", b"P6 ", b"P6 9 9 "),
    *(b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0", b"\0\0\0\x18ftypavif"),
    *(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0", b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0"),
]

SEEDS = [
    encoded(pattern(mode, size=(20, 12)), kind)
    for kind, mode in [
        *[("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P")],
        *[("BMP", "RGB"), ("WEBP", "RGB"), ("AVIF", "RGB"), ("TIFF", "RGBA"), ("TIFF", "L"), ("PPM", "RGB")],
    ]
]


@st.composite
def damaged_images(draw):
    """A small image of each format with a few bytes changed, cut out or cut off."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "cut", "end"])):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case "cut":
                del data[at : at + draw(st.integers(1, 20))]
            case "end":
                del data[at:]
    return bytes(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.one_of(st.binary(max_size=200), damaged_images()))
def test_any_bytes_give_a_picture_or_a_frame_error(data):
    try:
        picture = decode(data, allocate, 100_000)
    except FrameError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape[0] * picture.shape[1] <= 100_000
    assert picture.shape[2] == 3


@settings(max_examples=500, deadline=None)
@given(data=st.one_of(damaged_images(), st.builds(bytes.__add__, st.sampled_from(STARTS), st.binary(max_size=400))))
def test_any_bytes_give_a_header_or_a_frame_error(data):
    """Edge 11: whatever follows the first bytes of a format."""
    try:
        header = read_header(memoryview(data))
    except FrameError:
        return
    assert header.width > 0
    assert header.height > 0
    assert 1 <= header.orientation <= 8


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("TIFFFillStrip: Seek error at scanline 4294967295, strip 0", "the data ends before the picture does"),
        ("error: (-2) Unexpected end of input stream in function 'readBlock'", "the data ends before the picture does"),
        ("Exceeded avifIO's sizeHint, possibly truncated data", "the data ends before the picture does"),
        ("ThunderDecode compression support is not configured", "a feature of its format that zpipe does not read"),
        ("Failed to allocate 123 bytes", "not enough memory"),
        ("bad adaptive filter value", "the data is damaged or incomplete"),
    ],
)
def test_reasons_are_in_our_words(said, reason):
    """Edge 11: not in those of libtiff."""
    lines = ["[ WARN:0@0.1] global a.cpp:1 f whatever", f"[ERROR:0@0.1] global grfmt_tiff.cpp:117 TIFF_Error {said}"]
    assert reason in opencv.reason_in(lines)
    assert said not in opencv.reason_in(lines)
    assert opencv.reason_in([]) == opencv.DAMAGED
