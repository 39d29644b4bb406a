"""A server that segments photos for other programs: `evf-sam serve`."""

from modeling_evf_sam.extras import require


def check_libraries() -> None:
    """Raises a ValueError that names the extra if what serves is missing."""
    for library in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(library, extra="serve", what="serve")
