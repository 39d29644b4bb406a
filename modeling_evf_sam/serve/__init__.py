"""A server that segments photos for other programs: `evf-sam serve`."""

from modeling_evf_sam.extras import require


def check_libraries(*, ray: bool = False) -> None:
    """Raises a ValueError that names the extra if what serves is missing."""
    extra, more = ("serve-ray", ["ray.serve"]) if ray else ("serve", [])
    for library in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", *more):
        require(library, extra=extra, what="serve")
