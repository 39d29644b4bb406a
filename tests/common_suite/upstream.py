"""transformers' own common tests, which every model in that library must pass, made importable for ours.

They are not part of the installed package but of its source archive. That is downloaded once for each version with
pip into a cache folder (`EVF_SAM_TEST_CACHE`, default ~/.cache/evf-sam-tests) and imported from there.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import transformers
from filelock import FileLock

PACKAGE = "transformers_common_tests"

# What the common tests import from folders that the archive leaves out.
STUBS = {
    "fetch_hub_objects_for_ci": {"url_to_local_path": lambda url: url},
    f"{PACKAGE}.exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    f"{PACKAGE}.generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    f"{PACKAGE}.utils.test_configuration_utils": {"config_common_kwargs": {}},
}


def common_tests(name: str) -> ModuleType:
    """The module `name` of the suite; skips the test module that asks for it where there is no registry to reach.

    Raises:
        RuntimeError: if the archive cannot be had in continuous integration, where these tests must run.
    """
    if PACKAGE not in sys.modules:
        _register(_source() / "tests")
    return import_module(f"{PACKAGE}.{name}")


def _register(folder: Path) -> None:
    for stub, attributes in STUBS.items():
        sys.modules[stub] = ModuleType(stub)
        vars(sys.modules[stub]).update(attributes)
    sys.modules[PACKAGE] = ModuleType(PACKAGE)
    sys.modules[PACKAGE].__path__ = [str(folder)]


def _source() -> Path:
    cache = Path(os.environ.get("EVF_SAM_TEST_CACHE", Path.home() / ".cache" / "evf-sam-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    source = cache / f"transformers-{transformers.__version__}"
    with FileLock(cache / "download.lock"):  # test processes start at the same time
        if not source.is_dir():
            _download(source)
    return source


def _download(source: Path) -> None:
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        options = ["--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--retries", "1", "--timeout", "30"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", folder]
        done = subprocess.run([*command, source.name.replace("-", "==")], capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2]
            _give_up(f"pip cannot download the source archive of {source.name}: {reason}")
        with tarfile.open(Path(folder) / f"{source.name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        (Path(folder) / source.name / "tests" / "__init__.py").touch()  # test_configuration_common reads it
        (Path(folder) / source.name).rename(source)


def _give_up(reason: str) -> None:
    if os.environ.get("CI") == "true":
        raise RuntimeError(reason)
    pytest.skip(reason, allow_module_level=True)
