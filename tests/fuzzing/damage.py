"""Damage of files, for strategies: bytes changed, cut off, repeated or put in."""

from hypothesis import strategies as st

EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "repeat", "insert"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=6,
)


def damaged(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A file of one kind after some edits."""
    return st.builds(edited, whole, EDITS)


def edited(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    """The content after edits."""
    for kind, place, new in edits:
        start = int(place * len(content))
        if kind == "set":
            content = content[:start] + new + content[start + len(new) :]
        elif kind == "cut":
            content = content[:start] + content[start + 16 * len(new) :]
        elif kind == "repeat":
            content = content[:start] + content[start : start + 64] * len(new) + content[start:]
        else:
            content = content[:start] + new + content[start:]
    return content
