import subprocess
import sys

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


# A process for each order of imports; what they share of torch is half of what is slow to import.
FORK = """
import os, sys
import torch._dynamo, torch.distributed.tensor
assert "transformers" not in sys.modules
for program in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        exec(program, {})
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0, program
"""


def run(*programs):
    command = [sys.executable, "-W", "error::DeprecationWarning:modeling_evf_sam", "-c", *programs]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


BEFORE = [
    "",
    "from transformers import AutoModel, AutoProcessor, pipeline",
    "import modeling_evf_sam; from transformers import CLIPProcessor, SamConfig",
    "from modeling_evf_sam import EvfSamProcessor",
    "from modeling_evf_sam import EvfSamPipeline",
    "import transformers.models.auto.processing_auto",
]


def test_auto_classes_know_ours_whatever_was_imported_before():
    found = run(FORK, *(before + LOAD for before in BEFORE))
    expected = "EvfSamConfig EvfSamImageProcessor EvfSamModel EvfSamProcessor Beit3Model EvfSamPipeline"
    assert found.splitlines() == [expected] * len(BEFORE)


MODEL_FILES = {"clip", "sam", "sam2", "vilt"}  # of transformers, which classes here build on
IMPORTS = """
import sys
from transformers import AutoModel, AutoProcessor, pipeline
theirs = set(sys.modules)
import modeling_evf_sam
print(*sys.modules.keys() - theirs)
"""


def test_the_import_costs_what_transformers_costs():
    ours = run(IMPORTS).split()
    assert {name.partition(".")[0] for name in ours} == {"modeling_evf_sam", "transformers"}  # no other library
    assert {name.split(".")[2] for name in ours if name.startswith("transformers.models.")} == MODEL_FILES
