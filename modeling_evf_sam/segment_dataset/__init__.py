"""Photos by the million: `evf-sam segment-dataset`, on Ray Data."""
