from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from modeling_evf_sam.photos import open_photo, to_rgb
from tests.fuzzing.damage import damaged
from tests.fuzzing.outcomes import fuzzed

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow, about damage

MODES = ("RGB", "L", "P", "1", "RGBA", "LA", "I;16", "F", "CMYK", "I")


def _file(kind: str, mode: str, exif: bytes) -> bytes:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    for candidate, options in ((image.convert(mode), {"exif": exif}), (image, {"exif": exif}), (image, {})):
        content = BytesIO()
        with suppress(Exception):  # no such mode in this format, or it looks into EXIF data
            candidate.save(content, kind, **options)
            return content.getvalue()
    raise AssertionError(kind)


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    return exif.tobytes()


EXIF = st.one_of(
    st.just(b""),
    st.binary(max_size=40).map(b"Exif\0\0".__add__),
    st.integers(0, 9).map(_turned),
    damaged(st.integers(1, 8).map(_turned)),
)
PHOTOS = st.builds(_file, st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"]), st.sampled_from(MODES), EXIF)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "photo"


@fuzzed("photos", content=st.one_of(PHOTOS, damaged(PHOTOS)))
def test_a_photo_that_was_accepted_needs_no_second_look(content, file):
    file.write_bytes(content)
    photo = open_photo(file)
    try:
        assert (photo.mode, photo.info, to_rgb(photo).size) == ("RGB", {}, photo.size)
    except (ValueError, OSError) as error:
        raise AssertionError("accepted, and refused later") from error


@fuzzed("photos", content=damaged(PHOTOS))
def test_an_opened_photo_is_converted_or_refused(content, file):
    file.write_bytes(content)
    try:
        image = Image.open(file)
    except Exception as error:
        raise ValueError("is Pillow's affair") from error
    with image:
        to_rgb(image)
