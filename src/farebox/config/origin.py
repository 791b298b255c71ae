"""Origins: which line or variable gave each setting, and the refusal that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from farebox.config.lines import KeyPath, write_path


class ConfigError(Exception):
    """Settings that cannot be used. `path` is the key path or the variable; `line` is None outside a file."""

    def __init__(self, message: str, *, path: str = "", file: str = "", line: int | None = None) -> None:
        where = file if line is None else f"{file}:{line}"
        super().__init__(": ".join(filter(None, (where, path, message))))
        self.path = path
        self.line = line


class Origins:
    """Where every setting of one reading came from."""

    def __init__(self, file: str, lines: Mapping[KeyPath, int]) -> None:
        self.file = file
        self._lines = dict(lines)
        self._variables: dict[KeyPath, str] = {}

    def came_from(self, variable: str, path: KeyPath) -> None:
        """Note that an environment variable gave this setting, whatever the file says of it."""
        self._lines = {key: line for key, line in self._lines.items() if key[: len(path)] != path}
        self._variables[path] = variable

    def refuse(self, path: KeyPath, message: str) -> NoReturn:
        """Raise ConfigError with the variable or line of the path, or of the nearest that encloses it."""
        for length in range(len(path), 0, -1):
            origin, rest = path[:length], path[length:]
            if origin in self._variables:
                raise ConfigError(message, path=write_path((self._variables[origin], *rest)))
            if origin in self._lines:
                raise ConfigError(message, path=write_path(path), file=self.file, line=self._lines[origin])
        raise ConfigError(message, path=write_path(path), file=self.file)

    def written(self) -> dict[str, str]:
        """Key path → where it was written; a variable wins over a line."""
        sources = {write_path(path): f"{self.file}:{line}" for path, line in self._lines.items()}
        return sources | {write_path(path): f"environment {name}" for path, name in self._variables.items()}
