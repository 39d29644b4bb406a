"""Running what `evf-sam export` wrote, with numpy, Pillow and `tokenizers`: torch need not be installed."""
