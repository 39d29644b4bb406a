"""Makes the package's classes known to transformers' Auto classes and to `pipeline`; done once, on import.

Only the configurations are imported for it. Models, processors and the pipeline, which take seconds to import, follow
when they are first used.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from transformers import AutoConfig, AutoModel

from modeling_evf_sam.configuration_evf_sam import Beit3Config, EfficientSamConfig, EvfSamConfig


class _Later:
    """Stands for a class of this package until something is asked of it."""

    def __init__(self, module: str, name: str):
        self._place = (module, name)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._load(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """An object of it."""
        return self._load()(*args, **kwargs)

    def __mro_entries__(self, bases: tuple) -> tuple[type]:
        """Classes may derive from it."""
        return (self._load(),)

    def _load(self) -> type:
        module, name = self._place
        return getattr(import_module(module, __package__), name)


class _AfterImport(MetaPathFinder):
    """Calls a function when a module has been imported, at once if it is there already."""

    def __init__(self, module: str, call: Callable[[], None]):
        self.module, self.call = module, call
        if module in sys.modules:
            call()
        else:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that calls the function at its end."""
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        assert spec is not None
        loader: Any = spec.loader
        load = loader.exec_module

        def load_and_call(module: ModuleType) -> None:
            load(module)
            self.call()

        loader.exec_module = load_and_call
        return spec


def _register_image_processor() -> None:
    from transformers import AutoImageProcessor

    from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor

    backends = {"pil": EvfSamImageProcessor, "torchvision": EvfSamImageProcessor}
    AutoImageProcessor.register(EvfSamConfig, image_processor_classes=backends, exist_ok=True)


def _register_processor() -> None:
    from transformers import AutoProcessor

    from modeling_evf_sam.processing_evf_sam import EvfSamProcessor

    AutoProcessor.register(EvfSamConfig, EvfSamProcessor, exist_ok=True)


def _register_pipeline() -> None:
    from transformers.pipelines import PIPELINE_REGISTRY

    from modeling_evf_sam.hub.code import TASK

    pipeline: Any = _Later(".pipeline_evf_sam", "EvfSamPipeline")
    PIPELINE_REGISTRY.register_pipeline(TASK, pipeline, pt_model=AutoModel, type="multimodal")


AutoConfig.register(EvfSamConfig.model_type, EvfSamConfig, exist_ok=True)
for _config, _place in (
    (Beit3Config, (".modeling_beit3", "Beit3Model")),
    (EfficientSamConfig, (".modeling_efficient_sam", "EfficientSamModel")),
    (EvfSamConfig, (".modeling_evf_sam", "EvfSamModel")),
):
    # What `AutoModel.register` does, but for a check of the class, which would import it.
    AutoModel._model_mapping.register(_config, _Later(*_place), exist_ok=True)
_AfterImport("transformers.models.auto.image_processing_auto", _register_image_processor)
_AfterImport("transformers.models.auto.processing_auto", _register_processor)
_AfterImport("transformers.pipelines", _register_pipeline)
# `pipeline` prefers the code of a repository to a registered class, and demands trust in it; here none is needed.
EvfSamConfig.custom_pipelines = property(lambda config: {}, lambda config, value: None)
