import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_evf_sam import EvfSamConfig, EvfSamModel
from tests.golden import golden_config

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.just(10**5),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
)
SEEDED = settings(
    max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    EvfSamModel(golden_config()).save_pretrained(folder)
    return folder


def test_headers(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()

    @SEEDED
    @given(at=st.integers(0, 4000), byte=st.integers(0, 255))
    def feed(at, byte):
        path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
        try:
            EvfSamModel.from_pretrained(folder)
        except (ValueError, OSError) as error:
            assert str(error)

    try:
        feed()
    finally:
        path.write_bytes(whole)


def test_configurations(folder):
    whole = EvfSamConfig.from_pretrained(folder).to_dict()
    keys = [(part, key) for part in ("multimodal_config", "sam_config") for key in whole[part]]
    keys += [(None, key) for key in whole]

    @SEEDED
    @given(place=st.sampled_from(sorted(keys, key=str)), value=VALUES)
    def feed(place, value):
        config = copy.deepcopy(whole)
        part, key = place
        (config[part] if part else config)[key] = value
        try:
            EvfSamConfig.from_dict(config)
        except ValueError as error:
            assert str(error)

    feed()
