"""`python -m modeling_evf_sam.cli`, for launchers of several processes such as torchrun."""

import sys

from modeling_evf_sam.cli import main

sys.exit(main())
