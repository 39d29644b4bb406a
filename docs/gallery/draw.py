"""Draws the pictures of docs/gallery.md with the checkpoint of the package.

    python docs/gallery/draw.py

The scenes are the first of the test split, in their order, with the sentences that come with them: none is chosen.
"""

import shutil
import tempfile
from pathlib import Path

from evf_sam_cli import main
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

KINDS = ["attribute", "superlative", "relation", "semantic"]
# picture: the kinds of its sentences, the share of them that is not there, and what is added to the command
PICTURES = {
    "sentences": (KINDS[:1], 0.0, []),
    "places": (KINDS[1:2], 0.0, []),
    "relations": (KINDS[2:3], 0.0, []),
    "categories": (KINDS[3:], 0.0, ["--semantic"]),
    "objects": (KINDS[3:], 0.0, ["--semantic", "--instances"]),
    "not_there": (KINDS[:1], 0.5, []),
    "attention": (KINDS[:1], 0.0, ["--attention"]),
    "words": (KINDS[:1], 0.0, ["--explain"]),
}


def draw(folder: Path) -> None:
    """Writes a picture for each command."""
    for number, (name, (kinds, absent, options)) in enumerate(PICTURES.items()):
        scene = RenderedScenes("test", number + 1, kinds=kinds, absent=absent)[number]
        with tempfile.TemporaryDirectory() as place:
            photo, output = Path(place, "scene.png"), Path(place, "masks")
            scene.photo.resize((320, 320)).save(photo)
            sentences = list(dict.fromkeys(scene.sentences))[:3]
            command = ["segment", str(photo), *sentences, *options, "--dtype", "float32", "--output", str(output)]
            assert main(command) == 0
            picture = {"attention": "attention.png", "words": "explain_01.png"}.get(name, "overlay.png")
            shutil.copyfile(output / picture, folder / f"{name}.png")


if __name__ == "__main__":
    draw(Path(__file__).parent)
