"""`python -m modeling_evf_sam.cli`, the former place of the command line."""

from runpy import run_module

if __name__ == "__main__":
    run_module("evf_sam_cli", run_name="__main__")
