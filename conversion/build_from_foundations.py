r"""Put a SAM and a BEIT-3 together to an EVF-SAM that is ready to be trained: `evf-sam build` as a script.

python conversion/build_from_foundations.py --sam sam_vit_h_4b8939.pth --beit3 beit3_large_patch16_224.pth \
    --tokenizer beit3.spm --output evf-sam-untrained
"""

import sys

from evf_sam_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", *sys.argv[1:]]))
