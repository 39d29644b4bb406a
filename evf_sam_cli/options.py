"""Options that several verbs share."""

from typing import Annotated, Literal

import typer

DEFAULT_MODEL = "rendered_scenes"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Name, folder or Hub id of a checkpoint.",
        show_default=f"{DEFAULT_MODEL}, the embedded one, for drawn shapes",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Where to compute, such as cpu or cuda:1.", show_default="a GPU if any")
]
BackendOption = Annotated[
    Literal["torch", "onnxruntime", "openvino"],
    typer.Option("--backend", help="What computes; but for torch, --model is a folder that `evf-sam export` wrote."),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="float32, bfloat16, or int8 on a CPU: less memory, not quite the same.",
        show_default="EVF_SAM_DTYPE, or bfloat16 where the device is fast in it",
    ),
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="PATH", help="Write the result as JSON too; - prints it.")
]


def read_numbers(option: str, text: str, count: int) -> list[float]:
    """The numbers that an option was given, with commas between them.

    Raises:
        ValueError: they are not numbers, or not that many.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"{option} '{text}' must be {count} numbers with commas between them, in photo pixels")
    return numbers
