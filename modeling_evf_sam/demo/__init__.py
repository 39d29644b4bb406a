"""A page to try a checkpoint in the browser; only `page` needs Gradio."""
