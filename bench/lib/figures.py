"""Medians, and medians of the ratios inside one round."""

import statistics

# A round in which other work took more of the machine than this does not count, where
# three quieter ones remain.
DISTURBED = 0.3


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


class Figures:
    def __init__(self, runs):
        self.runs = {}
        self.order = {}
        for run in runs:
            self.runs.setdefault((run.cell, run.contestant), {})[run.round] = run
            labels = self.order.setdefault(run.cell, [])
            if run.contestant not in labels:
                labels.append(run.contestant)

    def contestants(self, cell):
        return self.order.get(cell, [])

    def has(self, cell, contestant):
        return (cell, contestant) in self.runs

    def rounds(self, cell):
        """The rounds that count: those of all contestants, without the disturbed ones."""
        of_each = [self.runs[cell, label] for label in self.contestants(cell)]
        rounds = set.intersection(*(set(runs) for runs in of_each))
        quiet = {number for number in rounds if all(runs[number].others <= DISTURBED for runs in of_each)}
        return sorted(quiet if len(quiet) >= 3 else rounds)

    def values(self, cell, contestant, what):
        runs = self.runs[cell, contestant]
        return [getattr(runs[number], what) for number in self.rounds(cell)]

    def median(self, cell, contestant, what):
        return statistics.median(self.values(cell, contestant, what))

    def ratios(self, one, other, what):
        """one and other are (cell, contestant); round by round."""
        rounds = [number for number in self.rounds(one[0]) if number in self.rounds(other[0])]
        if not rounds:  # one of the cells is measured once
            return [self.median(*one, what) / self.median(*other, what)]
        return [getattr(self.runs[one][number], what) / getattr(self.runs[other][number], what) for number in rounds
                if getattr(self.runs[other][number], what)]

    def others(self):
        return sorted(run.others for runs in self.runs.values() for run in runs.values())
