"""What the programs say of themselves, as data: manuals, completions and examples are made from it, so that they
cannot differ from the programs."""
import os
import re
import subprocess
from dataclasses import dataclass, field

OPTION = re.compile(r"^  (?:-(?P<short>\w), )?\s*--(?P<long>[\w-]+)(?:[= ](?P<metavar>\S+))?(?:  +(?P<text>.*))?$")


@dataclass
class Option:
    short: str
    long: str
    metavar: str
    text: str

    @property
    def choices(self):
        """The words that it takes, when it takes no others."""
        if re.fullmatch(r"[a-z]+(\|[a-z]+)+", self.metavar):
            return self.metavar.split("|")
        allowed = re.search(r"Allowed: ([^.]*)\.", self.text)
        if allowed and "," in allowed[1] and not allowed[1].startswith("a "):
            return allowed[1].split(", ")
        return []


@dataclass
class Command:
    name: str
    summary: str
    arguments: str = ""  # "[OPTION…] FILE"
    description: list = field(default_factory=list)  # lines
    options: list = field(default_factory=list)
    after: list = field(default_factory=list)  # lines after the options


def output(*words):
    environment = dict(os.environ, LC_ALL="C.UTF-8", COLUMNS="200")
    environment.pop("LANGUAGE", None)
    return subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def subcommands(program):
    """All commands of procview but help, in its order."""
    listing = output(program, "help").split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    commands = []
    for line in listing.splitlines():
        name, summary = line.split(None, 1)
        if name != "help":
            commands.append(read_command(name, summary, output(program, name, "--help")))
    return commands


def read_command(name, summary, text):
    """The help of GOption: usage, description, blocks of options, the rest."""
    command = Command(name, summary)
    lines = iter(text.splitlines())
    assert next(lines) == "Usage:", f"{name} --help begins with something else"
    command.arguments = next(lines).split(f"procview {name}", 1)[1].strip()
    part = command.description
    for line in lines:
        if line in ("Help Options:", "Application Options:"):
            part = command.options
        elif part is not command.options:
            part.append(line)
        elif line == "":
            continue
        elif OPTION.match(line):
            found = OPTION.match(line)
            part.append(Option(found["short"] or "", found["long"], found["metavar"] or "", found["text"] or ""))
        else:
            part = command.after
            part.append(line)
    return command


def daemon_options(program):
    """procviewd's: an option a line, its text indented below it."""
    options = []
    for line in output(program, "--help").splitlines():
        found = OPTION.match(line)
        if found:
            options.append(Option(found["short"] or "", found["long"], found["metavar"] or "", ""))
        elif options and line.startswith("      "):
            options[-1].text = f"{options[-1].text} {line.strip()}".strip()
        elif options:
            break
    return options


def served_files(program):
    """(path, what it shows) of every file."""
    rows = output(program, "show", "--list").splitlines()[1:]
    return [tuple(re.split(r"  +", row, maxsplit=1)) for row in rows]
