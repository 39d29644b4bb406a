"""Convert BEIT-3's sentencepiece model into a tokenizer: `evf-sam tokenizer` as a script.

python conversion/convert_tokenizer.py beit3.spm --output beit3-tokenizer --semantic --verify
"""

import sys

from evf_sam_cli import main

if __name__ == "__main__":
    sys.exit(main(["tokenizer", *sys.argv[1:]]))
