"""Adds up what ./run test ran: cases passed, failed and skipped, and why each was skipped.

Reads the result files that ctest, GoogleTest and pytest wrote into one folder. A ctest entry that is a
GoogleTest program counts by its cases; one that crashed wrote none, and counts as one failure.
"""

import argparse
import collections
import dataclasses
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


@dataclasses.dataclass
class Totals:
    passed: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    skipped: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )

    def add_case(self, name: str, case: ElementTree.Element) -> None:
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            self.failed.append(name)
        elif skip is not None:
            reason = (skip.get("message") or skip.text or "no reason given").strip()
            self.skipped[last_line(reason)].append(name)
        else:
            self.passed += 1


def last_line(reason: str) -> str:
    """GoogleTest puts the source position on the lines before the message."""
    return reason.splitlines()[-1].strip()


def add_ctest(totals: Totals, folder: pathlib.Path) -> None:
    programs = {path.stem: path for path in folder.glob("gtest/*.xml")}
    for entry in ElementTree.parse(folder / "ctest.xml").getroot().iter("testcase"):
        name = entry.get("name", "")
        crashed = entry.get("status") == "fail"
        program = programs.get(name)
        if program is None:
            totals.add_case(name, entry)
            continue
        failures_before = len(totals.failed)
        for case in ElementTree.parse(program).getroot().iter("testcase"):
            totals.add_case(f"{name}: {case.get('classname')}.{case.get('name')}", case)
        if crashed and len(totals.failed) == failures_before:
            totals.failed.append(f"{name} (the program failed outside its cases)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=pathlib.Path, help="the folder with the result files")
    results = parser.parse_args().results
    totals = Totals()
    for ctest in sorted(results.glob("*/ctest.xml")):
        add_ctest(totals, ctest.parent)
    for pytest in sorted(results.glob("pytest*.xml")):
        for case in ElementTree.parse(pytest).getroot().iter("testcase"):
            totals.add_case(f"{case.get('classname')}.{case.get('name')}", case)

    for reason, names in sorted(totals.skipped.items()):
        print(f"SKIPPED {len(names)}: {reason}")
        for name in names[:3]:
            print(f"    {name}")
        if len(names) > 3:
            print(f"    and {len(names) - 3} more")
    for name in totals.failed:
        print(f"FAILED {name}")
    skipped = sum(len(names) for names in totals.skipped.values())
    print(f"{totals.passed} passed, {len(totals.failed)} failed, {skipped} skipped")
    return 1 if totals.failed or totals.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
