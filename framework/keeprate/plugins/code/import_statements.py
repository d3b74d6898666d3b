"""Read the imports of a file off its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def imported_names(content: bytes, package: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names of each import; of several, the first that is a module is meant.

    `package` are the names that relative imports start from.
    """
    for node in _import_statements(content):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import name` imports a module or what package/__init__.py defines
            for alias in node.names:
                yield (f"{start}.{alias.name}", start) if start else (alias.name,)
            continue
        for alias in node.names:
            parts = alias.name.split(".")
            # `import a.b` binds `a`, so `a/__init__.py` counts; `import a.b as c` binds `a.b` alone
            first = len(parts) if alias.asname else 1
            yield from ((".".join(parts[:end]),) for end in range(first, len(parts) + 1))


def _import_statements(content: bytes) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all imports of a file but those for type checkers; none if it is not Python."""
    try:
        queue: list[ast.AST] = [ast.parse(content)]
    except (SyntaxError, ValueError):
        return
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            queue += node.orelse
        else:
            queue += ast.iter_child_nodes(node)


def _is_type_checking(condition: ast.expr) -> bool:
    return ast.unparse(condition) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
