"""Each door gives its tool what the labeller finds; what is not there gets no shape."""

import base64
import io
import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from modeling_evf_sam import DEFAULT_CHECKPOINT, integrations
from modeling_evf_sam.hub.handler import FORMATS, EndpointHandler
from modeling_evf_sam.integrations.labeller import Labeller, read_sentences
from modeling_evf_sam.photos import PHOTO_FORMATS
from tests.annotations.test_formats import unpacked

SENTENCES = ["triangle", "banana"]
NO_PHOTOS = ["AAAA", "docs/sample.png", "https://localhost/a.png", None]
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


@pytest.fixture
def cvat():
    """The interface of CVAT's functions."""
    pytest.importorskip("cvat_cli", reason="needs the extra 'cvat'")
    return pytest.importorskip("cvat_sdk.auto_annotation", reason="needs the extra 'cvat'")


@pytest.fixture
def cvat_function(cvat):
    """What cvat-cli loads, with what follows each of its -p."""
    from cvat_cli._internal.common import FunctionLoader
    from cvat_cli._internal.parsers import parse_function_parameter

    parameters = map(parse_function_parameter, ["sentences=str:triangle; banana", "device=str:cpu"])
    return FunctionLoader("modeling_evf_sam.integrations.cvat", None, dict(parameters)).load()


def cvat_context(conf_threshold=None, conv_mask_to_poly=False):
    return SimpleNamespace(frame_name="a.png", conf_threshold=conf_threshold, conv_mask_to_poly=conv_mask_to_poly)


def test_cvat(cvat, cvat_function, photo, found_all):
    from cvat_sdk.masks import decode_mask

    assert isinstance(cvat_function.spec, cvat.DetectionFunctionSpec)
    assert [(label.name, label.id) for label in cvat_function.spec.labels] == [("triangle", 0), ("banana", 1)]
    shapes = cvat_function.detect(cvat_context(), photo)
    assert {(shape.label_id, str(shape.type)) for shape in shapes} == {(0, "mask")}
    width, height = photo.size
    assert found_all([decode_mask(shape.points, image_width=width, image_height=height) for shape in shapes])
    assert cvat_function.detect(cvat_context(conf_threshold=1.0), photo) == []


def test_cvat_with_polygons(cvat_function, photo, found_all):
    shapes = cvat_function.detect(cvat_context(conv_mask_to_poly=True), photo)
    assert {(shape.label_id, str(shape.type)) for shape in shapes} == {(0, "polygon")}
    masks = [filled(list(zip(shape.points[::2], shape.points[1::2], strict=True)), photo.size) for shape in shapes]
    assert found_all([mask for mask in masks if mask.sum() > 20])


def filled(corners, size) -> np.ndarray:
    """The mask (H, W) of a polygon."""
    drawn = Image.new("1", size)
    ImageDraw.Draw(drawn).polygon([tuple(point) for point in corners], fill=1)
    return np.asarray(drawn)


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
    assert all(shape["points"][0] == shape["points"][-1] for shape in answer["shapes"])
    masks = [filled(shape["points"], photo.size) for shape in answer["shapes"]]
    assert found_all([mask for mask in masks if mask.sum() > 20])
    assert model.predict(np.asarray(photo), {"text_prompt": "triangle", "conf_threshold": 1.0})["shapes"] == []
    find = model.labeller
    model.labeller = lambda *asked: [replace(found, score=1.02) for found in find(*asked)]  # as SAM may say
    answer = model.predict(np.asarray(photo)[..., ::-1], {"text_prompt": "triangle"})
    assert {shape["score"] for shape in answer["shapes"]} == {1}
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
    (same,) = getattr(node(), node.FUNCTION)(images * 1.001, "triangle", "rendered_scenes")
    assert torch.equal(same[0], masks[0])
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


def test_the_zoo_of_fiftyone(photo, tmp_path, monkeypatch):
    fo = pytest.importorskip("fiftyone", reason="fiftyone is not installed")

    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path))
    shutil.copytree(FOLDER / "fiftyone", tmp_path / "evf-sam")
    model = fo.zoo.load_zoo_model("evf-sam", classes=SENTENCES, device="cpu")
    assert isinstance(model, fo.Model)
    assert {found.label for found in model.predict(np.asarray(photo)).detections} == {"triangle"}


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
    for typed in ((), ["triangle"], ["triangles"]):  # the last one is no label: it is drawn in the first
        context = {"result": [{"value": {"text": typed}}]} if typed else None
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
    file = io.BytesIO()
    photo.save(file, "PNG")
    inputs = {"image": base64.b64encode(file.getvalue()).decode(), "text": ["the red circle", "the green triangle"]}
    endpoint = EndpointHandler(str(tmp_path))
    found = endpoint({"inputs": inputs})
    json.dumps(found)
    assert FORMATS == PHOTO_FORMATS
    assert len(found) == 2
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0]["mask"]))))
    assert mask.shape == photo.size[::-1]
    assert mask.any()
    assert endpoint({"inputs": {**inputs, "text": "the blue star"}}) == []  # is not there


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        ({}, '"inputs" lacks something: give it'),
        ({"inputs": "AAAA"}, '"inputs" lacks something: give it'),
        ({"inputs": {"image": "AAAA"}}, '"inputs" lacks something: give it'),
        *[({"inputs": {"image": image, "text": "a cup"}}, '"image" is no photo: give') for image in NO_PHOTOS],
    ],
)
def test_an_inference_endpoint_refuses(request_body, message):
    with pytest.raises(ValueError, match=message):
        EndpointHandler(str(DEFAULT_CHECKPOINT))(request_body)
