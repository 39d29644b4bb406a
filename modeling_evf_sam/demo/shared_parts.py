"""What the tabs of the page use."""

import html
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr

FORGET_AFTER = 3600  # seconds until files and photos of a visitor are deleted
# After an error, a component with progress would hide behind the word "Error".
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
SCORE = "Score: how good the model believes the mask to be, from 0 to 1."

Row = tuple[tuple[int, int, int], str, str, str]


def legend(titles: tuple[str, str], rows: Sequence[Row], note: str) -> str:
    """HTML: a line with a colour, its sentence and two figures for each mask.

    Args:
        titles: of the figures.
        rows: colour, sentence and figures.
        note: HTML below.
    """
    lines = "".join(
        f'<tr><td><span style="background:rgb{colour}"></span></td><td>{html.escape(sentence)}</td>'
        f"<td>{first}</td><td>{second}</td></tr>"
        for colour, sentence, first, second in rows
    )
    head = f"<tr><th></th><th>Sentence</th><th>{titles[0]}</th><th>{titles[1]}</th></tr>"
    return f"<table>{head}{lines}</table><p>{note}</p>"


def no_download() -> gr.DownloadButton:
    """A button without a file."""
    return gr.DownloadButton(value=None, interactive=False)


def capitalized(text: str) -> str:
    """The text with a large first letter."""
    return text[0].upper() + text[1:]


@contextmanager
def told() -> Iterator[None]:
    """Turns an error into a message on the page; details of those that are no user's fault go to the log."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = html.escape(" ".join(str(error).split()))
        raise gr.Error(capitalized(message), print_exception=False) from error
    except Exception as error:
        logging.getLogger(__name__).exception("a request of the page failed")
        raise gr.Error(f"This did not work ({type(error).__name__}): see the log.", print_exception=False) from error
