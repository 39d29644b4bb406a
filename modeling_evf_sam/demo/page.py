"""The page: a tab for photos, and one for films."""

from pathlib import Path

import gradio as gr

from modeling_evf_sam.demo.film_tab import FilmTab
from modeling_evf_sam.demo.following import MAX_FILM
from modeling_evf_sam.demo.gate import APP_SETTINGS
from modeling_evf_sam.demo.photo_tab import PhotoTab
from modeling_evf_sam.demo.segmenting import SharedModel
from modeling_evf_sam.demo.shared_parts import FORGET_AFTER, capitalized

MAX_VISITORS, MAX_WAITING = 32, 16
STYLE = Path(__file__).with_name("page.css")
INTRODUCTION = "## Say what to find\nType sentences about a photo or a film: each becomes a mask."


def build_page(model: SharedModel) -> gr.Blocks:
    """The page over one checkpoint; `open_page` serves it."""
    with gr.Blocks(title="EVF-SAM", analytics_enabled=False, delete_cache=(FORGET_AFTER, FORGET_AFTER)) as page:
        gr.Markdown(INTRODUCTION)
        if model.warning is not None:
            gr.Markdown(f"**{capitalized(model.warning)}.**", elem_id="note")
        with gr.Tab("Photo"):
            PhotoTab(model, page)
        with gr.Tab("Film"):
            films = FilmTab(model)
        page.unload(films.stop)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


def open_page(page: gr.Blocks, *, host: str | None = None, port: int | None = None, head: str | None = None) -> str:
    """Serves a page from a thread of this process.

    Args:
        page: what `build_page` returned.
        host: the address to listen on; default Gradio's, 127.0.0.1 unless the environment says otherwise.
        port: default the first free one from 7860.
        head: HTML for the head of the page.

    Returns:
        The page's address.

    Raises:
        OSError: the port is taken.
    """
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=MAX_FILM,
        state_session_capacity=MAX_VISITORS,
        enable_monitoring=False,
        run_history=False,
        mcp_server=False,
        ssr_mode=False,
        footer_links=[],
        theme=gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        css_paths=STYLE,
        head=head,
        app_kwargs=APP_SETTINGS,
    )
    return address
