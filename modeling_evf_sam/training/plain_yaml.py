"""YAML of settings: mappings with text for keys, of a bounded size and depth, each value written where it stands."""

from typing import Any

import yaml

from modeling_evf_sam.quoting import quoted

MAX_CHARACTERS = 100_000
MAX_DEPTH = 20


class _SettingsLoader(yaml.SafeLoader):
    """The safe loader without what can make a small file large, endless or deep."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias is not read: write the value out", self.peek_event())
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} levels", self.peek_event())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep=deep)
        for key in mapping:
            if not isinstance(key, str):
                self._refuse(f"key {quoted(key)} is no text: write it in quotes, or a name", node)
        return mapping

    def _refuse(self, problem: str, place: Any) -> None:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def load_settings(text: str) -> Any:
    """Reads YAML.

    Raises:
        ValueError: it is not YAML, or has what settings do not need: aliases, keys that are no text, or great size.
            The message goes on after the name of what was read.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters: {MAX_CHARACTERS} at the most")
    try:
        return yaml.load(text, _SettingsLoader)
    except Exception as error:  # of dates, numbers and tags that are none, it raises nearly anything
        raise ValueError(f"is not YAML of settings ({' '.join(str(error).split())[:300]})") from None
