"""Convert a release of EVF-SAM's authors, or back: `evf-sam convert` as a script.

python conversion/convert_evf_sam.py YxZhang/evf-sam-multitask --use-pickle --output evf-sam-multitask-converted
"""

import sys

from evf_sam_cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
