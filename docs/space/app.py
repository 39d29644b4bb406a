"""A Hugging Face Space: the page of `evf-sam demo`."""

from evf_sam_cli import main

raise SystemExit(main(["demo", "--host", "0.0.0.0", "--port", "7860"]))
