"""`python -m modeling_evf_sam`, for launchers of several processes such as torchrun: the `evf-sam` command."""

from runpy import run_module

run_module("evf_sam_cli", run_name="__main__")
