"""What was looked at, and what was wrong."""


class Skipped(Exception):
    """Why a part cannot be run here."""


class Findings:
    """The outcome of one part: every check has a title that says what must hold, and problems that say what was seen instead."""

    def __init__(self, name):
        self.name = name
        self.passed, self.failed, self.measured = [], [], []
        self.acknowledged = 0

    def check(self, title, problems):
        problems = [str(each) for each in problems]
        if not problems:
            self.passed.append(title)
            print(f"ok    {self.name}: {title}", flush=True)
            return
        self.failed.append(title)
        print(f"FAIL  {self.name}: {title}: {len(problems)} problem{'s' * (len(problems) != 1)}")
        for problem in problems[:5]:
            print(f"      {problem}", flush=True)

    def expect(self, title, condition, seen):
        self.check(title, [] if condition else [seen])

    def measure(self, text):
        """Something worth telling that is no promise."""
        self.measured.append(text)
        print(f"      {self.name}: {text}", flush=True)
