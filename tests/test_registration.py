import subprocess
import sys

import pytest

LOAD = """
import modeling_evf_sam
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor, CLIPProcessor, SamModel, pipeline
place = modeling_evf_sam.DEFAULT_CHECKPOINT
found = [auto.from_pretrained(place) for auto in (AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor)]
sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 8}
found += [AutoModel.from_config(AutoConfig.for_model("beit3", **sizes))]
found += [pipeline("referring-image-segmentation", model=place)]
print(*(type(each).__name__ for each in found))
"""


def run(program):
    command = [sys.executable, "-W", "error::DeprecationWarning:modeling_evf_sam", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "before",
    [
        "",
        "from transformers import AutoModel, AutoProcessor, pipeline",
        "import modeling_evf_sam; from transformers import CLIPProcessor, SamConfig",
        "from modeling_evf_sam import EvfSamProcessor",
        "from modeling_evf_sam import EvfSamPipeline",
        "import transformers.models.auto.processing_auto",
    ],
)
def test_auto_classes_know_ours_whatever_was_imported_before(before):
    assert run(before + LOAD).split() == [
        "EvfSamConfig",
        "EvfSamImageProcessor",
        "EvfSamModel",
        "EvfSamProcessor",
        "Beit3Model",
        "EvfSamPipeline",
    ]


LIST = "import sys; print(*sys.modules)"
MODEL_FILES = {"clip", "sam", "sam2", "vilt"}  # of transformers, which classes here build on


def test_the_import_costs_what_transformers_costs():
    theirs = set(run(f"from transformers import AutoModel, AutoProcessor, pipeline; {LIST}").split())
    ours = set(run(f"import modeling_evf_sam; {LIST}").split()) - theirs

    assert {name.partition(".")[0] for name in ours} == {"modeling_evf_sam", "transformers"}  # no other library
    assert {name.split(".")[2] for name in ours if name.startswith("transformers.models.")} == MODEL_FILES
