"""The `evf-sam` command as a module."""

import sys

from evf_sam_cli import main

sys.exit(main())
