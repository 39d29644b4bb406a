import pytest
from PIL import Image

from modeling_evf_sam import DEFAULT_CHECKPOINT
from tests.browser import browser

__all__ = ["browser"]  # the fixture


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """What the embedded checkpoint finds in two scenes: a folder of results, beside the photos."""
    pytest.importorskip("pyarrow", reason="results need the extra 'bulk'")
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
    from modeling_evf_sam.segment_dataset.reading import Prompt
    from modeling_evf_sam.segment_dataset.worker import PartWriter

    folder = tmp_path_factory.mktemp("review")
    scenes = RenderedScenes("test", 5)
    for index in (3, 4):
        Image.fromarray(scenes.scene(index).photo).save(folder / f"{index}.png")
    output = folder / "found"
    output.mkdir()
    writer = PartWriter(
        model=DEFAULT_CHECKPOINT, device="cpu", dtype="float32", root=folder, output=output, batch_size=2
    )
    prompts = [Prompt("the red circle"), Prompt("triangle", semantic=True, label="tri")]
    assert writer.write([(f"{index}.png", prompts) for index in (3, 4)]) == []
    return folder
