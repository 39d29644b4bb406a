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

Row = tuple[tuple[int, int, int], str, Sequence[str]]


def legend(titles: Sequence[str], rows: Sequence[Row], note: str) -> str:
    """HTML: a line with a colour, its sentence and its figures for each mask.

    Args:
        titles: of the figures.
        rows: colour, sentence and figures.
        note: HTML below.
    """
    lines = "".join(
        f'<tr><td><span style="background:rgb{colour}"></span></td><td>{html.escape(sentence)}</td>'
        f"{''.join(f'<td>{figure}</td>' for figure in figures)}</tr>"
        for colour, sentence, figures in rows
    )
    head = f"<tr><th></th><th>Sentence</th>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
    return f"<table>{head}{lines}</table><p>{note}</p>"


def hint(text: str) -> str:
    """HTML: a line below a field that says what is wrong with what stands in it."""
    return f'<p role="alert">{html.escape(capitalized(text))}</p>'


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
