"""The manual: it tells of every command, and every command in it can be typed."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from bench import cli, endpoint, words

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^(?:\$ )?((?:[A-Z_]+=\S+ )*bench .*)$", re.MULTILINE)


def commands() -> list[str]:
    """The `bench ...` lines of code blocks in README and docs/, continued lines joined."""
    texts = [README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))]
    blocks = [block for text in texts for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return sorted({line for block in blocks for line in COMMAND.findall(block.replace("\\\n", " "))})


@pytest.mark.parametrize("verb", sorted(cli.COMMANDS))
def test_the_readme_mentions_every_command(verb: str) -> None:
    """What can be typed is told somewhere."""
    assert re.search(rf"\bbench {verb}\b", README)


@pytest.mark.parametrize("line", commands())
def test_a_command_in_the_manual_can_be_typed(line: str) -> None:
    """argparse takes it, and its target is one that bench knows."""
    verb, *rest = (word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word) and word != "bench")
    rest = rest[: next((n for n, word in enumerate(rest) if word in ("|", ">", "&", "&&", ";")), None)]
    if verb in ("--help", "--version"):
        assert not rest
        return
    module = import_module(cli.COMMANDS[verb][0])
    parser = cli.Parser(prog=f"bench {verb}", allow_abbrev=False)
    module.arguments(parser)
    args = parser.parse_args(rest)
    sides = [side for side in getattr(args, "sides", []) if "/" not in side.partition("?")[0] or "://" in side]
    for target in [*sides, *filter(None, [getattr(args, "target", None)])]:  # a side with a slash is a folder
        endpoint.check(words.parse(target))


@pytest.mark.parametrize(
    "page", sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]), ids=lambda page: page.name
)
def test_every_page_that_a_page_points_to_is_there(page: Path) -> None:
    """A reader who follows a link arrives."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
