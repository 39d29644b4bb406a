"""A folder of graphs as a page that needs no server: it segments in the browser.

The page is `web/`; what it needs of others, onnxruntime-web and a tokenizer, is fetched by npm as package-lock.json
says, and lies beside it in `vendor/`.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

PAGE = Path(__file__).with_name("web")
PACKAGES = ("package.json", "package-lock.json")
VENDORED = (  # of node_modules
    "@huggingface/tokenizers/dist/tokenizers.min.mjs",
    "@huggingface/tokenizers/LICENSE",
    "onnxruntime-web/dist/ort.wasm.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "onnxruntime-web/dist/ort.webgpu.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm",
)


def check_web(layout: str) -> None:
    """Raises a ValueError where the page cannot be written: no npm, or a model whose views it cannot make."""
    if layout == "pad_stretch":
        raise ValueError("format web knows no image_layout 'pad_stretch': use format onnx")
    if shutil.which("npm") is None:
        raise ValueError("format web fetches onnxruntime-web by npm: install Node.js")


def write_page(folder: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """Puts the page and what it needs of others beside the graphs in a folder.

    Returns:
        The metadata, with an example where one is known: a photo, and a sentence about it.
    """
    shutil.copytree(PAGE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*PACKAGES, "node_modules"))
    _vendor(folder / "vendor")
    if metadata["model"]["trained_on"] != "rendered_scenes":
        return metadata
    scene = RenderedScenes("test", 1)[0]
    scene.photo.save(folder / "example.png")
    return {**metadata, "example": {"photo": "example.png", "sentence": scene.sentences[0]}}


def _vendor(folder: Path) -> None:
    folder.mkdir()
    with TemporaryDirectory() as scratch:
        for name in PACKAGES:
            shutil.copy(PAGE / name, scratch)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or "no word of why").splitlines()[-1]
            raise ValueError(f"npm cannot fetch what the page needs: {last}")
        for name in VENDORED:
            source = Path(scratch, "node_modules", name)
            shutil.copy(source, folder / (source.name if source.suffix else f"{source.parent.name}-{source.name}"))
