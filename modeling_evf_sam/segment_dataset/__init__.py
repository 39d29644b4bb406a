"""Photos by the million: `evf-sam segment-dataset`, on Ray Data."""

from modeling_evf_sam.extras import require


def check_ray() -> None:
    """Raises a ValueError that names the extra if Ray Data is missing. The other modules here need what it brings."""
    require("ray.data", extra="bulk", what="segment-dataset")
