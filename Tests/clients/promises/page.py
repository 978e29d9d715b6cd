"""The page about a long run."""

import dataclasses
import datetime
import os
import pathlib
import platform
import re
import subprocess
import tempfile

from .findings import Findings


@dataclasses.dataclass
class Outcome:
    """What came of one part."""

    findings: Findings
    seconds: float
    promised: str  # how much the server had acknowledged
    skipped: str

    @property
    def verdict(self):
        if self.skipped:
            return f"skipped: {self.skipped}"
        return f"{len(self.findings.failed)} failed" if self.findings.failed else "kept"

    def line(self):
        if self.skipped:
            return f"{self.findings.name}: skipped: {self.skipped}"
        promised = f"{self.promised} acknowledged, " if self.promised else ""
        return f"{self.findings.name}: {promised}{len(self.findings.passed)} passed, {len(self.findings.failed)} failed, {self.seconds:.0f} s"


def write_page(arguments, outcomes):
    rows = [f"| {each.findings.name} | {each.promised or '-'} | {each.verdict} | {each.seconds:.0f} s |" for each in outcomes]
    lines = [
        "# A long run of the promises' checks",
        "",
        f"<!-- Written by `scripts/promises --long --write {arguments.write}`. -->",
        "",
        "What is promised, and what each part does, is in [reliability.md](reliability.md).",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in circumstances(arguments).items()),
        "",
        "| part | acknowledged | promises | took |",
        "|---|---|---|---|",
        *rows,
    ]
    for outcome in outcomes:
        findings = outcome.findings
        lines += ["", f"## {findings.name}", ""]
        lines += [f"- **Failed:** {title}" for title in findings.failed]
        lines += [f"- {title[0].upper()}{title[1:]}" for title in (*findings.passed, *findings.measured)]
        lines += [f"- Skipped: {outcome.skipped}"] if outcome.skipped else []
    arguments.write.write_text("\n".join(lines) + "\n")


def circumstances(arguments):
    processor = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"^MemTotal:\s*([0-9]+) kB", pathlib.Path("/proc/meminfo").read_text(), re.M)[1])
    disk = said("stat", "--file-system", "--format=%T", tempfile.gettempdir())
    is_changed = said("git", "status", "--porcelain", "--untracked-files=no", "--", "Sources", "Tests", "scripts", "Package.swift") != ""
    return {
        "commit": said("git", "rev-parse", "--short=10", "HEAD") + (" and what was not committed" if is_changed else ""),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "server": said(arguments.martlet, "--version"),
        "machine": f"{os.cpu_count()} cores of {processor[1] if processor else platform.machine()}, {memory >> 20} GiB, Linux {platform.release()}, {disk}",
        "seed": arguments.seed,
        "rounds of kill -9": arguments.rounds,
    }


def said(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
