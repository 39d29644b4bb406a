"""Each door gives its tool what the labeller finds; what is not there gets no shape."""

import base64
import io
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from modeling_evf_sam import DEFAULT_CHECKPOINT, integrations
from modeling_evf_sam.integrations.labeller import Labeller, read_sentences
from tests.annotations.test_formats import unpacked

SENTENCES = ["triangle", "banana"]
FOLDER = Path(integrations.__file__).parent


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a cup", ["a cup"]), ("a cup; sky\n\n the  sea ;", ["a cup", "sky", "the  sea"]), ("a\na", ["a"])],
)
def test_sentences_of_a_field(text, expected):
    assert read_sentences(text) == expected


def test_an_empty_field_is_told():
    with pytest.raises(ValueError, match="there is no sentence: write some"):
        read_sentences(" ;\n")


def test_the_labeller_finds_every_object(photo, found_all):
    found = Labeller(device="cpu")(photo, SENTENCES)
    assert {one.label for one in found} == {"triangle"}
    assert found_all([one.mask for one in found])


def test_cvat(photo, found_all):
    cvat = pytest.importorskip("cvat_sdk.auto_annotation", reason="needs the extra 'cvat'")
    from cvat_sdk.masks import decode_mask

    from modeling_evf_sam.integrations.cvat import create

    function = create("triangle; banana", device="cpu")
    assert isinstance(function.spec, cvat.DetectionFunctionSpec)
    assert [(label.name, label.id) for label in function.spec.labels] == [("triangle", 0), ("banana", 1)]
    context = SimpleNamespace(conf_threshold=None, frame_name="a.png", conv_mask_to_poly=False)
    shapes = function.detect(context, photo)
    assert {(shape.label_id, str(shape.type)) for shape in shapes} == {(0, "mask")}
    width, height = photo.size
    assert found_all([decode_mask(shape.points, image_width=width, image_height=height) for shape in shapes])
    assert function.detect(SimpleNamespace(conf_threshold=1.0), photo) == []


@pytest.fixture
def server_of_x_anylabeling(monkeypatch):
    """The two modules of the server that a model imports; the server itself is no package."""
    registered = {}
    app, core, registry, models = (ModuleType(name) for name in ("app", "app.core", "app.core.registry", "app.models"))
    registry.register_model = lambda name: lambda kind: registered.setdefault(name, kind)

    class BaseModel:
        def __init__(self, config):
            self.config, self.params = config, config.get("params", {})

    models.BaseModel = BaseModel
    for module in (app, core, registry, models):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield registered
    sys.modules.pop("modeling_evf_sam.integrations.x_anylabeling", None)


def test_x_anylabeling(server_of_x_anylabeling, photo, found_all):
    import modeling_evf_sam.integrations.x_anylabeling  # noqa: F401

    model = server_of_x_anylabeling["evf_sam"]({"params": {"device": "cpu"}})
    model.load()
    answer = model.predict(np.asarray(photo)[..., ::-1], {"text_prompt": "triangle; banana"})
    assert {(shape["label"], shape["shape_type"]) for shape in answer["shapes"]} == {("triangle", "polygon")}
    masks = []
    for shape in answer["shapes"]:
        assert shape["points"][0] == shape["points"][-1]
        drawn = Image.new("1", photo.size)
        ImageDraw.Draw(drawn).polygon([tuple(point) for point in shape["points"]], fill=1)
        masks.append(np.asarray(drawn))
    assert found_all([mask for mask in masks if mask.sum() > 20])
    assert model.predict(np.asarray(photo), {"text_prompt": "triangle", "conf_threshold": 1.0})["shapes"] == []
    model.unload()


def test_comfyui(photo, triangles):
    from modeling_evf_sam.integrations.comfyui import NODE_CLASS_MAPPINGS

    node = NODE_CLASS_MAPPINGS["EvfSamSegment"]
    assert set(node.INPUT_TYPES()["required"]) == {"image", "text", "model"}
    images = torch.from_numpy(np.asarray(photo)).float()[None] / 255
    (masks,) = getattr(node(), node.FUNCTION)(images.repeat(2, 1, 1, 1), "triangle", "rendered_scenes")
    assert masks.shape == (2, *images.shape[1:3])
    whole = np.any(triangles, axis=0)
    found = masks[0].numpy() > 0
    assert (found & whole).sum() / (found | whole).sum() > 0.8
    assert torch.equal(masks[0], masks[1])
    (nothing,) = getattr(node(), node.FUNCTION)(images, "banana", "rendered_scenes")
    assert not nothing.any()


def test_fiftyone_s_manifest_names_the_model():
    manifest = json.loads((FOLDER / "fiftyone" / "manifest.json").read_text())
    assert manifest["models"][0]["base_name"] == "evf-sam"


@pytest.fixture
def fiftyone(monkeypatch):
    """The library; or what stands for the classes that the model needs, where it is not installed."""
    if find_spec("fiftyone"):
        import fiftyone

        return fiftyone
    library, core, models = (ModuleType(name) for name in ("fiftyone", "fiftyone.core", "fiftyone.core.models"))
    library.Detection = library.Detections = SimpleNamespace
    models.Model = object
    core.models, library.core = models, core
    for module in (library, core, models):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "modeling_evf_sam.integrations.fiftyone", raising=False)
    return library


def test_fiftyone(fiftyone, photo, found_all):
    from modeling_evf_sam.integrations.fiftyone import load_model

    found = load_model(classes=SENTENCES, device="cpu").predict(np.asarray(photo))
    assert isinstance(found, fiftyone.Detections)
    masks = []
    for one in found.detections:
        mask = np.zeros(photo.size[::-1], dtype=bool)
        x, y = round(one.bounding_box[0] * photo.width), round(one.bounding_box[1] * photo.height)
        mask[y : y + one.mask.shape[0], x : x + one.mask.shape[1]] = one.mask
        masks.append(mask)
    assert found_all(masks)


@pytest.fixture
def label_studio_ml(monkeypatch):
    """The library; or what stands for the base class, where it is not installed."""
    if find_spec("label_studio_ml"):
        return
    library, model, response = (ModuleType(f"label_studio_ml{name}") for name in ("", ".model", ".response"))

    class Base:
        def __init__(self, project_id, label_config):
            view = ElementTree.fromstring(label_config)
            self.tag, self.image = view.find("BrushLabels"), view.find("Image")
            labels = [label.get("value") for label in self.tag]
            self.parsed_label_config = {self.tag.get("name"): {"labels": labels}}
            self.setup()

        def set(self, name, value):
            pass

        def get_first_tag_occurence(self, control, data):
            assert (control, data) == ("BrushLabels", "Image")
            return self.tag.get("name"), self.tag.get("toName"), self.image.get("value").removeprefix("$")

    model.LabelStudioMLBase, response.ModelResponse = Base, SimpleNamespace
    for module in (library, model, response):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "modeling_evf_sam.integrations.label_studio", raising=False)


def test_label_studio(label_studio_ml, photo, found_all, tmp_path):
    from modeling_evf_sam.annotations.label_studio import interface
    from modeling_evf_sam.integrations.label_studio import EvfSamBackend

    photo.save(tmp_path / "a.png")
    backend = EvfSamBackend(project_id="1", label_config=interface(SENTENCES).replace('"label"', '"own"'))
    backend.get_local_path = lambda url, **_: str(tmp_path / "a.png")
    tasks = [{"id": 1, "data": {"image": "/data/local-files/?d=a.png"}}]
    for context in (None, {"result": [{"value": {"text": ["triangle"]}}]}):
        (prediction,) = backend.predict(tasks, context).predictions
        prediction = prediction if isinstance(prediction, dict) else prediction.model_dump()
        regions = prediction["result"]
        assert {(region["from_name"], region["to_name"]) for region in regions} == {("own", "image")}
        assert {tuple(region["value"]["brushlabels"]) for region in regions} == {("triangle",)}
        masks = [unpacked(region["value"]["rle"]).reshape(*photo.size[::-1], 4) for region in regions]
        assert found_all([mask[..., 3] > 0 for mask in masks])


def test_an_inference_endpoint(tmp_path, photo, monkeypatch):
    from modeling_evf_sam import EvfSamModel, EvfSamProcessor
    from modeling_evf_sam.hub.code import HANDLER, write_code

    EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).save_pretrained(tmp_path)
    EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT).save_pretrained(tmp_path)
    write_code(tmp_path)
    assert (tmp_path / HANDLER.name).read_bytes() == HANDLER.read_bytes()
    from modeling_evf_sam.hub.handler import EndpointHandler

    file = io.BytesIO()
    photo.save(file, "PNG")
    inputs = {"image": base64.b64encode(file.getvalue()).decode(), "text": ["the red circle", "the green triangle"]}
    found = EndpointHandler(str(tmp_path))({"inputs": inputs})
    json.dumps(found)
    assert len(found) == 2
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0]["mask"]))))
    assert mask.shape == photo.size[::-1]
    assert mask.any()
