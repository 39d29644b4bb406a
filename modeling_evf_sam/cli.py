"""`python -m modeling_evf_sam.cli`: the former place of the command line."""

import sys

from evf_sam_cli import main

if __name__ == "__main__":
    sys.exit(main())
