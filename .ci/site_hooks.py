"""What mkdocs does to the pages of docs/ so that they are a site and still read well on GitHub.

Documents at the top of the repository become pages, and links to files that are no pages lead to
the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Documents outside docs/, and the pages they become."""

_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_BLOCK = re.compile(r"^(?:```.*?^```|<!--.*?-->)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents at the top of the repository."""
    repository = Path(config.config_file_path).parent
    for name, page in TOP.items():
        files.append(File.generated(config, page, content=(repository / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links lead to pages of the site, or into the repository."""
    pages = {path: name for name, path in TOP.items()}
    source = pages.get(page.file.src_path, f"docs/{page.file.src_path}")

    def turned(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (Path(config.config_file_path).parent / path).exists():
            return match[0]  # mkdocs says where it is, and that it leads nowhere
        inside = TOP.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(inside) is None or (path not in TOP and path == inside):
            kind = "tree" if target.endswith("/") else "blob"
            return f"{match[1]}{config.repo_url}/{kind}/main/{path}{match[3]}"
        return f"{match[1]}{inside}{match[3]}"

    kept = iter(_BLOCK.findall(markdown))
    parts = [_LINK.sub(turned, part) for part in _BLOCK.split(markdown)]
    return "".join(part + next(kept, "") for part in parts)
