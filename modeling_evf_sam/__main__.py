"""`python -m modeling_evf_sam`, for launchers of several processes such as torchrun: the `evf-sam` command."""

import sys

from evf_sam_cli import main

sys.exit(main())
